// Names of passes as users type them.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace renga {

// "fuse-qkv-rope" for "fuse_qkv_rope".
std::string WithDashes(std::string_view text);

// The pass of the default pipeline that `text` names, with '-' or '_' between words.
// InvalidArgument otherwise, beginning with `flag` and listing the passes, the nearest first.
absl::StatusOr<std::string> PassNamed(std::string_view flag, std::string_view text);

// The same for "frontend", the point before all passes.
absl::StatusOr<std::string> PassOrFrontendNamed(std::string_view flag, std::string_view text);

// "got one that is none" for any list of names, the nearest first.
absl::Status NoSuchName(std::string_view flag, std::string_view text,
                        absl::Span<const std::string_view> names);

}  // namespace renga
