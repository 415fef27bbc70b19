// Steps of a plan on some device with every value kept, and what the step found: for VerifyTrace.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include "absl/status/statusor.h"
#include "ir/core/graph.h"
#include "ir/trace/step_state.h"
#include "ir/trace/trace.h"
#include "runtime/exec/step_hooks.h"
#include "runtime/exec/step_inputs.h"
#include "tools/step_memory.h"

namespace renga {

// Where the steps run. Owns what runs them.
class StepDevice {
 public:
  virtual ~StepDevice() = default;

  virtual const StepMemory& memory() const = 0;
  virtual std::string_view name() const = 0;  // "cpu", "cuda:0 H100 80GB HBM3"

  // With these hooks, any of which may be null, around each step of the plan that runs. Errors are
  // theirs or the device's.
  virtual absl::Status Run(const StepInputs& inputs, const StepHooks& hooks) = 0;

  // As if nothing had ever been stored in any cache.
  virtual absl::Status Forget() = 0;
};

// What a step of `plan`, whose graph is `graph`, is given with these inputs: all of StepState but
// the caches, of which there are `cells` cells.
StepState StateOf(const plan::Plan& plan, const Graph& graph, const StepInputs& inputs,
                  int64_t cells);

struct RecordedStep {
  Trace trace;  // of caches the first cells, as many as the state has
  StepState state;
};

struct RecordOptions {
  std::function<bool(std::string_view name)> keep;  // which values; null: all
  const std::atomic<bool>* cancel = nullptr;        // set: Cancelled at the next step
};

class StepRecorder {
 public:
  // InvalidArgument where the plan's graph does not parse.
  static absl::StatusOr<std::unique_ptr<StepRecorder>> Create(std::unique_ptr<StepDevice> device,
                                                              RecordOptions options);

  const plan::Plan& plan() const { return device_->memory().plan(); }
  const Graph& graph() const { return graph_; }  // the plan's
  std::string_view device() const { return device_->name(); }

  // Runs the step. What it found and made, with the first `cells` cells of the caches, goes to
  // `record` unless that is null. Errors as StepDevice::Run.
  absl::Status Run(const StepInputs& inputs, int64_t cells, RecordedStep* record);

  // As if nothing had ever been stored in any cache.
  absl::Status Forget() { return device_->Forget(); }

 private:
  StepRecorder(std::unique_ptr<StepDevice> device, Graph graph, RecordOptions options);

  const std::unique_ptr<StepDevice> device_;
  const Graph graph_;
  const RecordOptions options_;
};

}  // namespace renga
