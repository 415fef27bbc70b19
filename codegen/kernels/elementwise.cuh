// add and glu. A thread takes an element at a time; any grid of one dimension. The result may be an
// operand.
#pragma once

#include "codegen/kernels/activation.cuh"
#include "codegen/kernels/args.cuh"

namespace renga::kernels {

// y = a + b.
__device__ __forceinline__ void AddElements(const AddArgs& args) {
  WaitForPreviousKernel();
  LetNextKernelStart();
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < args.count;
       i += static_cast<int64_t>(gridDim.x) * blockDim.x) {
    args.y[i] = LoadFromL2(args.a + i) + LoadFromL2(args.b + i);
  }
}

// y = activation(gate) * up.
template <Activation kActivation>
__device__ __forceinline__ void GluElements(const GluArgs& args) {
  WaitForPreviousKernel();
  LetNextKernelStart();
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < args.count;
       i += static_cast<int64_t>(gridDim.x) * blockDim.x) {
    args.y[i] = Activate<kActivation>(LoadFromL2(args.gate + i)) * LoadFromL2(args.up + i);
  }
}

}  // namespace renga::kernels
