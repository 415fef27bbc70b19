// What a GPU was given, as far as it takes to compute the inputs of a step again after it failed
// there: by then nothing can be read from the GPU any more.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "runtime/exec/cuda_runner.h"
#include "runtime/exec/step_inputs.h"
#include "tools/open_model.h"

namespace renga {

// StepInputs with memory of its own.
struct GivenRun {
  std::vector<int32_t> tokens, positions, sequences, cells, pages, rows;
  int64_t sequence_count = 1;

  // All but windows; valid while this is there.
  StepInputs inputs() const;
};

struct GivenSteps {
  OpenedPlan plan;
  bool recompiled = false;  // the plan's code is not that of its file
  std::string device;       // "cuda:0"
  GivenRun run;             // the last one
  // Which token each cell of the caches holds: -1 where nobody knows. What a cell holds beyond that
  // depends on the tokens before it in its sequence, which are in the cells of that sequence.
  std::vector<int32_t> tokens;
  int failed_step = -1;  // of the last run, by index into Plan::steps; -1: none
};

// Runs as `runner` does, and keeps in `given`, which outlives it, what that takes: a few numbers a
// token. Steps are run one after another.
std::unique_ptr<StepRunner> NoteGiven(std::unique_ptr<CudaRunner> runner, GivenSteps* given);

}  // namespace renga
