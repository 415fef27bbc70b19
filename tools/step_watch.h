// Watches the steps of a run, on any device, for what no right step gives: NaN, infinity, and
// elements that it does not write. What it finds first ends the run.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ir/reference/interpreter.h"
#include "runtime/exec/step_hooks.h"
#include "tools/poison.h"
#include "tools/repro/captured_node.h"
#include "tools/step_values.h"

namespace renga {

struct StepWatchOptions {
  std::string plan_path;  // see WeightOptions
  // Where a step that gave such a number is kept: its numbers (write_repro.h), and of a plan for
  // GPUs its kernels in `cuda` there (cuda_repro.h). Empty: nowhere.
  std::string folder;
  int threads = 1;
};

// Before each step its outputs are filled with a number that no step writes, unless they share
// memory with its inputs; of caches the cells that the run writes, in types with a poison. After
// the step its outputs are read once. Costs what reading and writing them costs, on a GPU copies to
// it and back.
class StepWatch {
 public:
  // For the executor behind `memory`, which keeps the watch by them: a run that finds something is
  // DataLoss, saying step, result and place.
  static absl::StatusOr<StepHooks> Hooks(std::shared_ptr<const StepMemory> memory,
                                         const StepWatchOptions& options);

 private:
  // Elements of an output, one after another, that the step writes in this run.
  struct Range {
    uint64_t offset = 0;  // bytes from the buffer's start
    int64_t elements = 0;
    int64_t first = 0;  // index of the range's first element in the tensor
  };

  StepWatch(StepWatchOptions options, StepValues values)
      : options_(std::move(options)), values_(std::move(values)) {}

  const plan::Plan& plan() const { return values_.plan(); }
  absl::Status Before(int step);
  absl::Status After(int step);
  absl::Status FindRanges(const plan::Step& step);
  bool IsApart(const plan::Step& step, int32_t output) const;
  absl::Status FillRanges(const Poison& poison, size_t output, int32_t buffer);
  absl::StatusOr<Odd> ScanRanges(const Poison& poison, size_t output, int32_t buffer);
  absl::Status CheckBlocks(int step, size_t output) const;
  absl::Status Found(int step, size_t output, std::string what) const;
  std::string Kept(int step, const CapturedNode& node, const std::string& found) const;

  const StepWatchOptions options_;
  const StepValues values_;
  std::vector<std::vector<Range>> ranges_;  // of the step's outputs
  // Kept for their memory.
  std::vector<uint8_t> fill_, read_;
  const Poison* filled_with_ = nullptr;  // what fill_ has
};

// The same for the interpreter, whose values all are written: DataLoss at the first result that
// holds NaN or infinity. `ir` is the text of the graph that is interpreted.
absl::StatusOr<Observer> WatchInterpreter(const std::string& ir);

// "NaN at token 2, dim 17; 3 of 320 elements are no finite numbers", or "" where all are.
std::string NotFinite(const HostTensor& tensor, const TensorType& type);

}  // namespace renga
