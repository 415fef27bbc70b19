// Tensor maps as NVIDIA's driver encodes them.
#pragma once

#include "absl/status/statusor.h"
#include "runtime/device/cuda/resources.h"
#include "runtime/plan/tensor_map.h"

namespace renga::cuda {

// The 128 bytes that kernels take. InvalidArgument for what the driver would refuse, as
// plan::CheckTensorMap says it; errors of the driver as Driver::Check.
absl::StatusOr<plan::EncodedTensorMap> EncodeTensorMap(const Context& context,
                                                       const plan::TensorMapSpec& spec);

// The same as plan::PackArguments wants it. Keeps the context alive.
plan::TensorMapEncoder TensorMapEncoderOf(ContextRef context);

}  // namespace renga::cuda
