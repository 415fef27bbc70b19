// Tokens that a device chooses by itself: what it is asked for, and what it says. Where its answer
// is "undecided", the row's logits decide, with Sampler and to the same token.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "runtime/text/sampler.h"

namespace renga {

// Asks for one row of a run.
struct RowSampling {
  int32_t row = 0;  // of StepInputs::rows
  NextDraw draw;
  bool wants_sum = false;  // SampledRow::sum
  int32_t wants_top = 0;   // SampledRow::top
};

struct SampledRow {
  int32_t row = 0;
  int32_t id = -1;     // chosen; -1: undecided
  float logit = 0;     // of the chosen id, as the model gave it
  bool known = false;  // the next three are
  float max = 0;       // the largest logit
  uint64_t sum = 0;    // of all weights (token_weight.h), where it was wanted
  // The largest (id, logit), largest first, ties to the lower id; fewer than wanted where the
  // device does not know so many.
  std::vector<std::pair<int32_t, float>> top;
};

}  // namespace renga
