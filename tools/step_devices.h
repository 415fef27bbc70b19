// The devices of this machine for StepRecorder.
#pragma once

#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/exec/executor.h"
#include "tools/cuda_device.h"
#include "tools/open_model.h"
#include "tools/step_recorder.h"

namespace renga {

// Errors as Executor::Create.
absl::StatusOr<std::unique_ptr<StepDevice>> OpenCpuDevice(const OpenedPlan& opened,
                                                          const ExecutorOptions& options);

struct CpuStepOptions {
  int threads = 1;
  RecordOptions record;
  // See ExecutorOptions.
  std::function<const cpu::KernelDef*(std::string_view name)> find_kernel;
};

// Errors as Executor::Create and StepRecorder::Create.
absl::StatusOr<std::unique_ptr<StepRecorder>> OpenCpuSteps(const OpenedPlan& opened,
                                                           const CpuStepOptions& options);

struct OpenedCudaDevice {
  std::unique_ptr<StepDevice> device;
  // Weights in whose place the GPU has something else, read back from there.
  std::vector<cuda::WeightDifference> differences;
};

// On a GPU each step is waited for, and can be read before the next. `threads` of the host load the
// weights. Errors as CudaExecutor::Create.
absl::StatusOr<OpenedCudaDevice> OpenCudaSteps(const OpenedPlan& opened, const CudaDevice& device,
                                               int threads);

}  // namespace renga
