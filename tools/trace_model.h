// One run of a model on a device with every value kept.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "ir/trace/trace.h"
#include "tools/open_model.h"

namespace renga {

struct TraceModelOptions {
  OpenOptions open;                                 // device auto is the cpu; on a GPU each step
                                                    // is waited for
  std::vector<int32_t> ids;                         // at least one; run at once, from position 0
  std::string prompt;                               // the text they are, for TraceRun
  std::vector<int32_t> positions;                   // whose rows to keep, ascending; empty: all
  std::function<bool(std::string_view name)> keep;  // which values; null: all
  const std::atomic<bool>* cancel = nullptr;        // set: Cancelled at the next node
};

// Logits are computed for the tokens at `positions`, or for the last of them where the plan gives
// fewer rows of a step; a GGUF is compiled for all. A GGUF is compiled for as many tokens a step as
// there are ids. Errors as OpenModel, and OutOfRange for more ids than the plan's step or context
// holds.
absl::StatusOr<Trace> TraceModel(const std::string& model, const TraceModelOptions& options);

// Of all weights with their names: two models are the same when it is.
std::string DigestOfWeights(const plan::Plan& plan);

}  // namespace renga
