// How fast a model reads prompts, decodes and serves, on whatever device.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/exec/step_runner.h"
#include "runtime/exec/timeline.h"
#include "tools/step_cost.h"
#include "tools/step_meter.h"

namespace renga {

struct Speed {
  double median = 0;     // tokens a second
  double deviation = 0;  // of the repetitions, of a sample; 0 for one repetition
};

struct SpeedOptions {
  int repetitions = 5;                     // after one that is not measured
  const StepCosts* costs = nullptr;        // of the plan; null: Measured::cost stays 0
  std::optional<SamplingParams> sampling;  // of MeasureDecode; nullopt: greedy
  // Repetitions done, the unmeasured one included, and all of them. May be empty.
  std::function<void(int64_t done, int64_t total)> on_repetition;
  Timeline* timeline = nullptr;  // see EngineOptions and GenerateOptions
};

struct Measured {
  Speed speed;
  // Of one repetition, all its runs: what they must read and compute, how many they are, how many
  // tokens they compute.
  StepCost cost;
  int64_t steps = 0;
  int64_t computed_tokens = 0;
  double host_share = 0;  // of the time, in which nobody waited for the device; the median
};

// Of numbers, one a repetition; at least one.
Speed SummarizeSpeed(std::vector<double> rates);

// All three begin with CheckGroupFits (sequence_group.h), or serving with CheckStepTakes, and
// return errors of the device. `sequences` is 1 or more; tokens a second are those of all sequences
// together.

// Reads prompts of `tokens` random ids, one for each sequence, in steps as large as the model
// takes, up to the choices of the tokens after them. The sequences are emptied before each.
// DataLoss when logits are no numbers.
absl::StatusOr<Measured> MeasurePrompt(StepRunner& runner, int64_t sequences, int64_t tokens,
                                       const SpeedOptions& options);

// Decodes as Generate does: one token of each sequence a run, chosen by the run before, greedily
// unless the options say otherwise. Each repetition decodes `tokens`
// tokens behind the same `depth` random ones, all sequences the same; each goes on with another
// token. DataLoss when logits are no numbers.
absl::StatusOr<Measured> MeasureDecode(StepRunner& runner, int64_t sequences, int64_t depth,
                                       int64_t tokens, const SpeedOptions& options);

// Serves as many requests as there are sequences, through Engine: all are there at the beginning,
// each with a prompt of its own of `prompt` random ids, behind which `tokens` are generated
// greedily; no token ends a text. Where the caches cannot hold them all, some wait. The time is
// that from the first request to the last result, the tokens a second are the generated ones. The
// plan must hold its tokenizer. Errors of the engine and of its requests.
absl::StatusOr<Measured> MeasureServing(StepRunner& runner, int64_t sequences, int64_t prompt,
                                        int64_t tokens, const SpeedOptions& options);

}  // namespace renga
