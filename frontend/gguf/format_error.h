// How the reader words its complaints: every message about a file says at which byte it happened.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "ir/base/strings.h"

namespace renga {

// `text` in single quotes, unprintable bytes escaped, cut after 80 bytes: names come from an
// untrusted file and may be megabytes of terminal escapes.
std::string Quote(std::string_view text);

// "byte 24: ..." as InvalidArgument: the file breaks a rule of the format.
template <typename... Parts>
absl::Status CorruptError(uint64_t offset, const Parts&... parts) {
  return absl::InvalidArgumentError(StrCat("byte ", offset, ": ", parts...));
}

// "byte 24: ..." as DataLoss: the file ends before what it promises.
template <typename... Parts>
absl::Status TruncatedError(uint64_t offset, const Parts&... parts) {
  return absl::DataLossError(
      StrCat("byte ", offset, ": ", parts..., "; the file is truncated or corrupt"));
}

// "byte 24: ..." as Unimplemented: a valid file of a kind that is not read here.
template <typename... Parts>
absl::Status UnsupportedError(uint64_t offset, const Parts&... parts) {
  return absl::UnimplementedError(StrCat("byte ", offset, ": ", parts...));
}

}  // namespace renga
