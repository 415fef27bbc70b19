// Steps of a plan that the reference interpreter computes in the device's place: out of what the
// device has there, into the device's memory.
#pragma once

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ir/core/graph.h"
#include "runtime/memory/weights.h"
#include "tools/open_model.h"
#include "tools/step_values.h"

namespace renga {

class InterpretedSteps {
 public:
  // `memory` is of a device that runs the plan. A step is computed as `good` has it, a graph of the
  // same model with the values that the step reads and gives; where it has not, or `good` is null,
  // as the plan's own graph. Errors as WeightStore::Open and StepValues::Create.
  static absl::StatusOr<std::unique_ptr<InterpretedSteps>> Create(
      const OpenedPlan& opened, std::shared_ptr<const StepMemory> memory,
      std::shared_ptr<const Graph> good, int threads);

  // Between two steps of a run, in place of `step`. Errors are the interpreter's and the memory's.
  absl::Status Compute(int step) const;

 private:
  InterpretedSteps(std::shared_ptr<const plan::Plan> plan, WeightStore store, StepValues values,
                   std::shared_ptr<const Graph> good, int threads);

  const std::shared_ptr<const plan::Plan> plan_;
  const WeightStore store_;
  const StepValues values_;
  const std::shared_ptr<const Graph> good_;
  const int threads_;
};

}  // namespace renga
