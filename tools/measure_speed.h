// How fast a model reads a prompt and how fast it decodes, on whatever device.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/exec/forward.h"

namespace renga {

struct Speed {
  double median = 0;     // tokens a second
  double deviation = 0;  // of the repetitions, of a sample; 0 for one repetition
};

struct SpeedOptions {
  int repetitions = 5;  // after one that is not measured
  // Repetitions done, the unmeasured one included, and all of them. May be empty.
  std::function<void(int64_t done, int64_t total)> on_repetition;
};

// Of tokens a second, one a repetition; at least one.
Speed SummarizeSpeed(std::vector<double> rates);

// Reads prompts of `tokens` random ids, in steps as large as the model takes, up to the choice of
// the token after them. The sequence is emptied before each. InvalidArgument when the context has
// no room; errors of the model.
absl::StatusOr<Speed> MeasurePrompt(Forward& forward, int64_t tokens, const SpeedOptions& options);

// Decodes greedily, as Generate does without sampling: one token a run, chosen by the run before,
// which has ended when the choice is read. Each repetition decodes `tokens` tokens behind the same
// `depth` random ones. Errors as MeasurePrompt; DataLoss when logits are no numbers.
absl::StatusOr<Speed> MeasureDecode(Forward& forward, int64_t depth, int64_t tokens,
                                    const SpeedOptions& options);

}  // namespace renga
