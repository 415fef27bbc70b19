// Writes a whole file or nothing: to a temporary beside the target, fsync, then rename.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/types/span.h"

namespace renga {

// Replaces `path` by the concatenation of `parts`. On any error (unwritable folder, full disk, ...)
// the old file, if any, is untouched and the temporary is removed. A path that names an existing
// non-regular file (/dev/stdout, a pipe) is written to directly.
absl::Status WriteFileAtomically(const std::string& path, absl::Span<const std::string_view> parts);

}  // namespace renga
