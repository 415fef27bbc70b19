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
#include "runtime/exec/executor.h"
#include "runtime/exec/step_inputs.h"
#include "tools/open_model.h"

namespace renga {

struct RecordedStep {
  Trace trace;  // of caches the first cells, as many as the state has
  StepState state;
};

class StepRecorder {
 public:
  virtual ~StepRecorder() = default;

  virtual const plan::Plan& plan() const = 0;
  virtual const Graph& graph() const = 0;  // the plan's
  virtual std::string_view device() const = 0;

  // Runs the step. What it found and made, with the first `cells` cells of the caches, goes to
  // `record` unless that is null. Errors as Executor::Run.
  virtual absl::Status Run(const StepInputs& inputs, int64_t cells, RecordedStep* record) = 0;

  // As if nothing had ever been stored in any cache.
  virtual absl::Status Forget() = 0;
};

struct CpuStepOptions {
  int threads = 1;
  std::function<bool(std::string_view name)> keep;  // which values; null: all
  const std::atomic<bool>* cancel = nullptr;        // set: Cancelled at the next node
  // See ExecutorOptions.
  std::function<const cpu::KernelDef*(std::string_view name)> find_kernel;
};

// Errors as Parse and Executor::Create.
absl::StatusOr<std::unique_ptr<StepRecorder>> OpenCpuSteps(const OpenedPlan& opened,
                                                           const CpuStepOptions& options);

// What a step of `plan` with these inputs is given: all of StepState but the caches.
StepState StateOf(const plan::Plan& plan, const Graph& graph, const StepInputs& inputs,
                  int64_t cells);

// A run of the plan: its graph and tokens.
TraceRun RunOfStep(const plan::Plan& plan, const StepInputs& inputs, std::string_view device);

}  // namespace renga
