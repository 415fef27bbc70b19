// What somebody else does between the steps of a run.
#pragma once

#include <functional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace renga {

// Called after a step with its index into Plan::steps; what it wrote can be read until the next. An
// error ends the run, and is what the run gives.
using StepObserver = std::function<absl::Status(int step)>;

// Called before a step; true where it has computed the step's outputs itself, into their buffers,
// so that the kernel is left out. An error ends the run likewise.
using StepSubstitute = std::function<absl::StatusOr<bool>(int step)>;

// Of every run, for those who watch an executor that others use.
struct StepHooks {
  StepSubstitute before;
  StepObserver after;
  std::function<void()> end = nullptr;  // after the last step of a run; of cpu executors
};

}  // namespace renga
