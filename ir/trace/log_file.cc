#include <zlib.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "ir/base/status.h"
#include "ir/trace/llama_log.h"

namespace renga {
namespace {

constexpr int64_t kMaxText = int64_t{512} << 20;

struct CloseGz {
  void operator()(gzFile file) const { gzclose(file); }
};

}  // namespace

absl::StatusOr<std::string> ReadLogText(const std::string& path, int64_t limit) {
  errno = 0;
  const std::unique_ptr<gzFile_s, CloseGz> file(gzopen(path.c_str(), "rb"));
  if (file == nullptr) {
    const std::string why = errno != 0 ? std::strerror(errno) : "out of memory";
    return absl::NotFoundError(StrCat(path, ": cannot open: ", why));
  }
  std::string text;
  while (static_cast<int64_t>(text.size()) < limit) {
    const size_t old = text.size();
    const size_t want = static_cast<size_t>(std::min<int64_t>(limit - old, 1 << 20));
    text.resize(old + want);
    const int got = gzread(file.get(), text.data() + old, static_cast<unsigned>(want));
    text.resize(old + static_cast<size_t>(std::max(got, 0)));
    if (got > 0) continue;
    int code = Z_OK;
    const char* message = gzerror(file.get(), &code);
    // Z_BUF_ERROR: the compressed file is cut short; what it held is there.
    if (got < 0 && code != Z_BUF_ERROR) {
      return absl::InvalidArgumentError(
          StrCat(path, ": ", code == Z_ERRNO ? std::strerror(errno) : message));
    }
    break;
  }
  return text;
}

absl::StatusOr<LlamaLog> ReadLlamaLog(const std::string& path) {
  RENGA_ASSIGN_OR_RETURN(const std::string text, ReadLogText(path, kMaxText + 1));
  if (static_cast<int64_t>(text.size()) > kMaxText) {
    return absl::InvalidArgumentError(StrCat(path, ": expected a log of at most ", kMaxText >> 20,
                                             " MiB of text, got more; trace a shorter prompt"));
  }
  absl::StatusOr<LlamaLog> log = ParseLlamaLog(text);
  if (!log.ok()) return Annotate(log.status(), path);
  return log;
}

}  // namespace renga
