// The copy engine's description of a tensor, for kernels and for the host.
#pragma once

#include "codegen/kernels/integers.cuh"

namespace renga::kernels {

// What cuTensorMapEncodeTiled fills in on the host. A kernel takes it, or a struct that holds it,
// as `const __grid_constant__`.
struct alignas(64) TensorMap {
  uint64_t opaque[16];
};

}  // namespace renga::kernels
