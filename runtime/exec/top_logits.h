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

// The logarithm of a token's probability, where `max` is the largest logit and `sum` that of all
// weights (token_weight.h).
double LogProbability(float logit, float max, uint64_t sum);

// log(softmax(logits)[id]). `id` must be in range, and no logit be NaN.
double LogProbability(absl::Span<const float> logits, int32_t id);

}  // namespace renga
