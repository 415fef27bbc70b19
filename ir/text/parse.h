// Reads the text form of a graph (grammar in docs/ir.md).
#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "ir/core/graph.h"

namespace renga {

// `file` names the text in errors: "file:12:8: expected ..., got ..." followed by the source line
// and a caret under the column. The result has been verified.
absl::StatusOr<Graph> Parse(std::string_view text, std::string_view file);

}  // namespace renga
