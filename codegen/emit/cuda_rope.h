// A rotation as a Config for GPUs says it (codegen/kernels/rope.cuh).
#pragma once

#include <string>
#include <vector>

#include "codegen/emit/cuda_step.h"

namespace renga::codegen {

// Lines of `struct Rope`, from the node's attributes of a rotation. The pairs between which yarn's
// ramp runs as ir/ops/rope.cc has them.
std::vector<std::string> RopeConfig(const CudaStep& step);

}  // namespace renga::codegen
