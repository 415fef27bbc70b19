#include "ir/base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "ir/base/status.h"

namespace renga {
namespace {

// Widens [offset, offset + bytes) inwards to whole pages, as madvise needs an aligned start.
void Advise(const uint8_t* data, size_t size, uint64_t offset, uint64_t bytes, int advice) {
  if (data == nullptr || offset >= size) return;
  const uint64_t page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  const uint64_t begin = offset / page * page;
  const uint64_t end = std::min<uint64_t>(size, offset + bytes);
  madvise(const_cast<uint8_t*>(data) + begin, end - begin, advice);
}

}  // namespace

absl::StatusOr<MappedFile> MappedFile::Open(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    const std::string message = StrCat(path, ": cannot open: ", strerror(errno));
    return errno == ENOENT ? absl::NotFoundError(message) : absl::InvalidArgumentError(message);
  }
  struct stat info;
  if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    close(fd);
    return absl::InvalidArgumentError(StrCat(path, ": expected a regular file, got ",
                                             S_ISDIR(info.st_mode) ? "a directory" : "a device"));
  }
  MappedFile file;
  file.path_ = path;
  file.size_ = static_cast<size_t>(info.st_size);
  if (file.size_ > 0) {
    void* data = mmap(nullptr, file.size_, PROT_READ, MAP_SHARED, fd, 0);
    if (data == MAP_FAILED) {
      const int error = errno;
      close(fd);
      return absl::ResourceExhaustedError(
          StrCat(path, ": cannot map ", file.size_, " bytes: ", strerror(error)));
    }
    file.data_ = static_cast<const uint8_t*>(data);
  }
  file.fd_ = fd;
  return file;
}

MappedFile::MappedFile(MappedFile&& other) noexcept { *this = std::move(other); }

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(fd_, other.fd_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(const_cast<uint8_t*>(data_), size_);
  if (fd_ >= 0) close(fd_);
}

absl::Status MappedFile::Read(uint64_t offset, absl::Span<uint8_t> to) const {
  while (!to.empty()) {
    const ssize_t some = pread(fd_, to.data(), to.size(), static_cast<off_t>(offset));
    if (some < 0 && errno == EINTR) continue;
    if (some < 0) {
      return absl::UnavailableError(
          StrCat(path_, ": cannot read at byte ", offset, ": ", strerror(errno)));
    }
    if (some == 0) {
      return absl::OutOfRangeError(
          StrCat(path_, ": expected ", to.size(), " more bytes from ", offset, " on, got none"));
    }
    offset += static_cast<uint64_t>(some);
    to.remove_prefix(static_cast<size_t>(some));
  }
  return absl::OkStatus();
}

void MappedFile::Prefetch(uint64_t offset, uint64_t bytes) const {
  Advise(data_, size_, offset, bytes, MADV_WILLNEED);
}

void MappedFile::Release(uint64_t offset, uint64_t bytes) const {
  Advise(data_, size_, offset, bytes, MADV_DONTNEED);
}

}  // namespace renga
