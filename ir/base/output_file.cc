#include "ir/base/output_file.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "ir/base/status.h"

namespace renga {
namespace {

absl::Status Failed(const std::string& path, std::string_view what, int error) {
  const std::string message = StrCat(path, ": cannot ", what, ": ", strerror(error));
  if (error == ENOSPC || error == EDQUOT) return absl::ResourceExhaustedError(message);
  return absl::InvalidArgumentError(message);
}

absl::Status WriteAll(const std::string& path, int fd, std::string_view data) {
  while (!data.empty()) {
    const ssize_t written = write(fd, data.data(), data.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return Failed(path, "write", errno);
    }
    data.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

absl::Status WriteParts(const std::string& path, int fd, absl::Span<const std::string_view> parts) {
  for (std::string_view part : parts) RENGA_RETURN_IF_ERROR(WriteAll(path, fd, part));
  return absl::OkStatus();
}

struct Temporary {
  int fd;
  bool named;  // whether it has a name in the folder yet
  std::string name;
};

// Unlike a process id, different for each thread, and for containers that share a folder.
std::string RandomHex() {
  uint64_t number = 0;
  if (getrandom(&number, sizeof(number), 0) != sizeof(number)) {
    number = static_cast<uint64_t>(getpid());
  }
  return absl::StrCat(absl::Hex(number, absl::kZeroPad16));
}

// A file without a name where the file system has such: then nothing is left behind even by a
// process that is killed while it writes. Else one beside `path`.
absl::StatusOr<Temporary> OpenTemporary(const std::string& path) {
  const size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  int fd = open(folder.c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
  if (fd >= 0) return Temporary{fd, false, ""};
  std::string name = path + ".tmp.XXXXXX";
  fd = mkostemp(name.data(), O_CLOEXEC);
  if (fd < 0) return Failed(path, "create a file beside it", errno);
  return Temporary{fd, true, std::move(name)};
}

}  // namespace

absl::Status WriteFileAtomically(const std::string& path,
                                 absl::Span<const std::string_view> parts) {
  struct stat info;
  if (stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode)) {
    if (S_ISDIR(info.st_mode)) return Failed(path, "write", EISDIR);
    const int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
    if (fd < 0) return Failed(path, "open for writing", errno);
    absl::Status status = WriteParts(path, fd, parts);
    close(fd);
    return status;
  }
  RENGA_ASSIGN_OR_RETURN(Temporary temporary, OpenTemporary(path));
  absl::Status status = WriteParts(path, temporary.fd, parts);
  if (status.ok() && fchmod(temporary.fd, 0644) != 0)
    status = Failed(path, "set permissions", errno);
  if (status.ok() && fsync(temporary.fd) != 0) status = Failed(path, "flush", errno);
  if (status.ok() && !temporary.named) {
    const std::string descriptor = StrCat("/proc/self/fd/", temporary.fd);
    temporary.name = StrCat(path, ".tmp.", RandomHex());
    if (linkat(AT_FDCWD, descriptor.c_str(), AT_FDCWD, temporary.name.c_str(), AT_SYMLINK_FOLLOW) ==
        0) {
      temporary.named = true;
    } else {
      status = Failed(path, "name the finished file", errno);
    }
  }
  if (close(temporary.fd) != 0 && status.ok()) status = Failed(path, "close", errno);
  if (status.ok() && rename(temporary.name.c_str(), path.c_str()) != 0) {
    status = Failed(path, "rename into place", errno);
  }
  if (!status.ok() && temporary.named) unlink(temporary.name.c_str());
  return status;
}

}  // namespace renga
