// Tokens that a device chooses by itself: what it is asked for, and what it says. Where its answer
// is "undecided", the row's logits decide, with Sampler and to the same token.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "runtime/text/sampler.h"

namespace renga {

// Asks for one row of a run.
struct RowSampling {
  int32_t row = 0;  // of StepInputs::rows
  NextDraw draw;
  bool wants_sum = false;  // SampledRow::sum
  int32_t wants_top = 0;   // SampledRow::top
};

// Rows must rise and be among `rows`, numbers be what NextDraw says, ids below `vocab`:
// InvalidArgument or OutOfRange, naming the row.
absl::Status CheckSampling(absl::Span<const RowSampling> asked, int64_t rows, int64_t vocab);

struct SampledRow {
  int32_t row = 0;
  int32_t id = -1;   // chosen; -1: undecided
  float logit = 0;   // of the chosen id, as the model gave it
  float max = 0;     // the largest logit, where an id was chosen
  uint64_t sum = 0;  // of all weights (token_weight.h), where it was wanted and an id chosen
  // The largest (id, logit), largest first, ties to the lower id: as many as were wanted, or as the
  // device knows, which is none where it knows nothing of the row.
  std::vector<std::pair<int32_t, float>> top;
};

}  // namespace renga
