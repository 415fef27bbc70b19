// The activations of gated MLPs (ir/ops/glu.cc).
#pragma once

#include "codegen/kernels/numbers.cuh"

namespace renga::kernels {

enum class Activation { kSilu, kGeluTanh };

template <Activation kActivation>
__device__ __forceinline__ float Activate(float x) {
  // gelu_tanh is x * sigmoid(2 u): (1 + tanh(u)) / 2 without tanh's cancellation.
  const float u = kActivation == Activation::kSilu
                      ? x
                      : 2.0f * 0.7978845608028654f * (x + 0.044715f * x * x * x);
  return x * FastReciprocal(1.0f + FastExp2(-u * kLog2E));
}

}  // namespace renga::kernels
