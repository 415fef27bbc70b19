// The token positions of `trace --positions`.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace renga {

// "0,3..5,-1": positions and ranges of them, both ends included, of a run of `tokens` tokens;
// negative ones count from the end. Ascending, each once. InvalidArgument naming the part that is
// none.
absl::StatusOr<std::vector<int32_t>> ParsePositions(std::string_view text, int64_t tokens);

}  // namespace renga
