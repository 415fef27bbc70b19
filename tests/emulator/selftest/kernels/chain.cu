// Two kernels of a chain of dependent launches: each reads weights before it waits.
#include "codegen/kernels/primitives.cuh"

using namespace renga::kernels;

extern "C" __global__ void chain_scale(const float* x, const float* weight, float* y) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  const float w = LoadStreaming(weight + i);
  WaitForPreviousKernel();
  LetNextKernelStart();
  y[i] = LoadFromL2(x + i) * w;
}

// Reversed, so that another block's values are read.
extern "C" __global__ void chain_reverse(const float* x, const float* weight, float* y) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  const float w = LoadStreaming(weight + i);
  LetNextKernelStart();
  WaitForPreviousKernel();
  y[i] = LoadFromL2(x + gridDim.x * blockDim.x - 1 - i) + w;
}
