// Figures of one row of logits, for `run --logits`.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/types/span.h"

namespace renga {

// The `count` largest (id, logit), largest first, ties to the lower id; fewer when there are fewer
// logits. NaN counts as smaller than everything.
std::vector<std::pair<int32_t, float>> TopLogits(absl::Span<const float> logits, int count);

// log(softmax(logits)[id]), summed in double. `id` must be in range.
double LogProbability(absl::Span<const float> logits, int32_t id);

}  // namespace renga
