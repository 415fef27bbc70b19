#include "tools/step_devices.h"

#include <cstring>
#include <string>
#include <utility>

#include "ir/base/status.h"
#include "runtime/exec/cuda_executor.h"
#include "runtime/exec/executor.h"

namespace renga {
namespace {

class CpuDevice final : public StepDevice {
 public:
  explicit CpuDevice(std::unique_ptr<Executor> executor)
      : executor_(std::move(executor)), memory_(*executor_) {}

  const StepMemory& memory() const override { return memory_; }
  std::string_view name() const override { return "cpu"; }
  absl::Status Run(const StepInputs& inputs, const StepHooks& hooks) override {
    executor_->SetHooks(hooks);
    const absl::Status status = executor_->Run(inputs);
    executor_->SetHooks({});
    return status;
  }
  absl::Status Forget() override {
    const KvArena& kv = executor_->kv();
    const plan::Plan& plan = executor_->plan();
    for (size_t i = 0; i < plan.caches.size(); ++i) {
      const plan::Cache& cache = plan.caches[i];
      const uint64_t bytes = cache.cell_bytes * static_cast<uint64_t>(kv.cells(cache.group));
      std::memset(kv.cache(static_cast<int>(i)), 0, bytes);
    }
    return absl::OkStatus();
  }

 private:
  const std::unique_ptr<Executor> executor_;
  const CpuMemory memory_;
};

class CudaStepDevice final : public StepDevice {
 public:
  CudaStepDevice(std::unique_ptr<CudaExecutor> executor, std::string name)
      : executor_(std::move(executor)), memory_(*executor_), name_(std::move(name)) {}

  const StepMemory& memory() const override { return memory_; }
  std::string_view name() const override { return name_; }
  absl::Status Run(const StepInputs& inputs, const StepHooks& hooks) override {
    RENGA_RETURN_IF_ERROR(executor_->SetHooks(hooks));
    const absl::Status status = executor_->Run(inputs);
    RENGA_RETURN_IF_ERROR(executor_->SetHooks({}));
    return status;
  }
  absl::Status Forget() override { return executor_->ForgetCaches(); }

 private:
  const std::unique_ptr<CudaExecutor> executor_;
  const CudaMemory memory_;
  const std::string name_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<StepDevice>> OpenCpuDevice(const OpenedPlan& opened,
                                                          const ExecutorOptions& options) {
  RENGA_ASSIGN_OR_RETURN(std::unique_ptr<Executor> executor,
                         Executor::Create(opened.plan, options));
  return std::make_unique<CpuDevice>(std::move(executor));
}

absl::StatusOr<std::unique_ptr<StepRecorder>> OpenCpuSteps(const OpenedPlan& opened,
                                                           const CpuStepOptions& options) {
  ExecutorOptions executor_options;
  executor_options.threads = options.threads;
  executor_options.plan_path = opened.path;
  executor_options.find_kernel = options.find_kernel;
  RENGA_ASSIGN_OR_RETURN(std::unique_ptr<StepDevice> device,
                         OpenCpuDevice(opened, executor_options));
  return StepRecorder::Create(std::move(device), options.record);
}

absl::StatusOr<OpenedCudaDevice> OpenCudaSteps(const OpenedPlan& opened, const CudaDevice& device,
                                               int threads) {
  CudaOptions options;
  options.threads = threads;
  options.plan_path = opened.path;
  options.paranoid = options.list_differences = true;
  options.check_steps = true;
  RENGA_ASSIGN_OR_RETURN(std::unique_ptr<CudaExecutor> executor,
                         CudaExecutor::Create(opened.plan, device.context, options));
  OpenedCudaDevice found;
  found.differences.assign(executor->differences().begin(), executor->differences().end());
  found.device = std::make_unique<CudaStepDevice>(std::move(executor), device.name);
  return found;
}

}  // namespace renga
