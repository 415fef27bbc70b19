// Runs a plan for the cpu target: one call executes all steps for any number of tokens of any
// sequences.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/device/cpu/kernel.h"
#include "runtime/device/cpu/thread_pool.h"
#include "runtime/exec/cpu_kernels.h"
#include "runtime/exec/index_rules.h"
#include "runtime/exec/step_hooks.h"
#include "runtime/exec/step_inputs.h"
#include "runtime/memory/kv_arena.h"
#include "runtime/memory/region.h"
#include "runtime/memory/weights.h"
#include "runtime/plan/plan.h"

namespace renga {

struct ExecutorOptions {
  int threads = 1;         // compute threads, the calling one included
  std::string plan_path;   // see WeightOptions
  std::string model_path;  // see WeightOptions
  std::function<void(int64_t done, int64_t total)> progress = nullptr;  // see WeightOptions
  FindCpuKernel find_kernel = nullptr;
};

// Not thread-safe. Owns all memory of the run: weights (mapped), arena, inputs, KV arena, threads.
class Executor {
 public:
  // Prepares every step of a valid plan. Errors: those of WeightStore and of the kernels' checks,
  // naming the step; Unimplemented for another target than cpu, a kernel or a step kind that it
  // lacks; ResourceExhausted.
  static absl::StatusOr<std::unique_ptr<Executor>> Create(std::shared_ptr<const plan::Plan> plan,
                                                          const ExecutorOptions& options);

  // Executes all steps. Every input value is checked first (OutOfRange, InvalidArgument); then
  // nothing can fail but `observer`, which a run for results goes without. Allocates nothing.
  absl::Status Run(const StepInputs& inputs, const StepObserver& observer = nullptr);

  // From the next run on; the hooks then decide whether a run can fail. `after` comes before the
  // observer that Run is given; both reach buffers through `tensor`.
  void SetHooks(StepHooks hooks) { hooks_ = std::move(hooks); }

  // Index of the output of that name; -1 when the plan has none.
  int FindOutput(std::string_view name) const;

  // The output as the last run left it, valid until the next.
  cpu::TensorRef output(int index) const;

  // A buffer of the plan with the sizes of the run; whether it still holds its value, the plan's
  // lifetimes say.
  cpu::TensorRef tensor(int buffer) const { return MakeTensor(buffer); }

  // Of the plan's symbols in the last run, by index.
  absl::Span<const int64_t> sizes() const { return sizes_; }

  const plan::Plan& plan() const { return *plan_; }
  KvArena& kv() { return kv_; }
  int threads() const { return pool_.threads(); }
  const cpu::ThreadPool& pool() const { return pool_; }

 private:
  struct PreparedStep {
    std::function<void(const cpu::KernelCall&)> run;
    std::vector<cpu::TensorRef> inputs;
    std::vector<cpu::TensorRef> outputs;
    bool has_rows = false;  // a tensor of it is sized by R
  };
  // A size of a tensor of a step that a symbol determines.
  struct BoundSize {
    int64_t* size;
    int32_t symbol;
  };

  Executor(std::shared_ptr<const plan::Plan> plan, int threads)
      : plan_(std::move(plan)), pool_(threads) {}

  void PlaceInputs();
  absl::Status PrepareSteps(const ExecutorOptions& options);
  cpu::TensorRef MakeTensor(int32_t buffer) const;
  void BindSizes(const StepInputs& inputs);
  void CopyInputs(const StepInputs& inputs) const;

  std::shared_ptr<const plan::Plan> plan_;
  cpu::ThreadPool pool_;
  IndexLimits limits_;
  WeightStore weights_;
  KvArena kv_;
  Region activations_;                // the arena, then the inputs
  std::vector<uint8_t*> input_data_;  // by index into Plan::inputs
  std::vector<PreparedStep> steps_;
  std::vector<BoundSize> bound_sizes_;
  std::vector<int32_t> outputs_;  // buffers, by index into Plan::outputs
  std::vector<int64_t> sizes_;    // by symbol, in the last run
  StepHooks hooks_;
};

}  // namespace renga
