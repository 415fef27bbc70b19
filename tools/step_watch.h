// Watches the steps of a run on the cpu for what no right step gives: NaN, infinity, and elements
// that it does not write. What it finds first ends the run.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ir/reference/interpreter.h"
#include "runtime/exec/executor.h"
#include "tools/step_values.h"

namespace renga {

struct StepWatchOptions {
  std::string plan_path;  // see WeightOptions
  std::string folder;  // where a step that gave such a number is kept (write_repro.h); empty: not
  int threads = 1;
};

// Before each step its outputs are filled with a number that no step writes, unless they share
// memory with its inputs; of caches the cells that the run writes, in types without blocks. After
// the step its outputs are read once. Costs what reading and writing them costs.
class StepWatch {
 public:
  // Hooks a watch into the executor, which then owns it: a run that finds something is DataLoss,
  // saying step, result and place.
  static absl::Status Attach(Executor* executor, const StepWatchOptions& options);

 private:
  StepWatch(Executor* executor, StepWatchOptions options, StepValues values)
      : executor_(*executor), options_(std::move(options)), values_(std::move(values)) {}

  void Before(int step) const;
  absl::Status After(int step) const;
  absl::Status Found(int step, size_t output, std::string what) const;
  std::string AboutInputs(const NodeCase& own, const WeightBytes& weights) const;

  Executor& executor_;
  const StepWatchOptions options_;
  const StepValues values_;
};

// The same for the interpreter, whose values all are written: DataLoss at the first result that
// holds NaN or infinity. `ir` is the text of the graph that is interpreted.
absl::StatusOr<Observer> WatchInterpreter(const std::string& ir);

// "NaN at token 2, dim 17; 3 of 320 elements are no finite numbers", or "" where all are.
std::string NotFinite(const HostTensor& tensor, const TensorType& type);

}  // namespace renga
