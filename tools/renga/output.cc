#include "tools/renga/output.h"

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "ir/base/output_file.h"
#include "ir/base/status.h"
#include "tools/renga/interrupt.h"

namespace renga {

absl::Status WriteStdout(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(STDOUT_FILENO, text.data(), text.size());
    if (written >= 0) {
      text.remove_prefix(static_cast<size_t>(written));
      continue;
    }
    if (errno == EINTR) continue;
    if (errno == EAGAIN) {  // another program left the terminal in non-blocking mode
      pollfd ready = {STDOUT_FILENO, POLLOUT, 0};
      poll(&ready, 1, -1);
      continue;
    }
    const std::string message = StrCat("stdout: cannot write: ", strerror(errno));
    if (errno == ENOSPC || errno == EDQUOT) return absl::ResourceExhaustedError(message);
    return absl::InvalidArgumentError(message);
  }
  return absl::OkStatus();
}

std::string JsonText(const Json& json) {
  return StrCat(json.dump(-1, ' ', false, Json::error_handler_t::replace), "\n");
}

absl::Status WriteResult(const std::string& path, std::string_view text) {
  if (path.empty()) return WriteStdout(text);
  return WriteResult(path, absl::MakeConstSpan(&text, 1));
}

absl::Status WriteResult(const std::string& path, absl::Span<const std::string_view> parts) {
  InterruptScope interrupt;  // no temporary file may stay behind
  RENGA_RETURN_IF_ERROR(WriteFileAtomically(path, parts));
  return interrupt.flag() ? absl::CancelledError("interrupted") : absl::OkStatus();
}

bool SameFile(const std::string& a, const std::string& b) {
  struct stat info_a, info_b;
  return stat(a.c_str(), &info_a) == 0 && stat(b.c_str(), &info_b) == 0 &&
         info_a.st_dev == info_b.st_dev && info_a.st_ino == info_b.st_ino;
}

}  // namespace renga
