#include "tools/open_on_cuda.h"

#include <utility>

#include "ir/base/status.h"
#include "runtime/exec/cuda_runner.h"
#include "tools/given_steps.h"
#include "tools/step_watch.h"

namespace renga {

absl::StatusOr<std::unique_ptr<StepRunner>> OpenOnCuda(const OpenedPlan& opened,
                                                       const CudaDevice& device, int threads,
                                                       const OpenOptions& open,
                                                       std::optional<int64_t>* kernels_compiled) {
  CudaOptions options;
  options.plan_path = opened.path;
  options.threads = threads;
  options.progress = open.progress;
  options.check_steps = open.check_steps || open.check;
  options.paranoid = open.paranoid;
  options.patience_seconds = open.patience_seconds;
  options.timeline = open.timeline;
  RENGA_ASSIGN_OR_RETURN(std::unique_ptr<CudaRunner> runner,
                         CudaRunner::Create(opened.plan, device.context, options, device.name));
  CudaExecutor& executor = runner->executor();
  *kernels_compiled = kernels_compiled->value_or(0) + executor.counters().kernels_compiled;
  if (open.check) {
    RENGA_ASSIGN_OR_RETURN(StepHooks hooks, StepWatch::Hooks(std::make_shared<CudaMemory>(executor),
                                                             {.plan_path = opened.path,
                                                              .folder = open.check_folder,
                                                              .threads = threads}));
    RENGA_RETURN_IF_ERROR(executor.SetHooks(std::move(hooks)));
  }
  if (open.given == nullptr || !options.check_steps) return runner;
  open.given->plan = opened;
  open.given->device = device.name.substr(0, device.name.find(' '));
  return NoteGiven(std::move(runner), open.given);
}

}  // namespace renga
