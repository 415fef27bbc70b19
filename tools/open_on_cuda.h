// A plan on a GPU, with all that may watch it there.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "runtime/exec/step_runner.h"
#include "tools/cuda_device.h"
#include "tools/open_model.h"

namespace renga {

// As `options` say: with check a StepWatch, with given a note of what it is given. Kernels that the
// driver compiled are added to `kernels_compiled`. Errors as CudaRunner::Create and
// StepWatch::Hooks.
absl::StatusOr<std::unique_ptr<StepRunner>> OpenOnCuda(const OpenedPlan& opened,
                                                       const CudaDevice& device, int threads,
                                                       const OpenOptions& options,
                                                       std::optional<int64_t>* kernels_compiled);

}  // namespace renga
