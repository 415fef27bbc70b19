// Small arithmetic that several kernels share.
#pragma once

#include "codegen/kernels/primitives.cuh"

namespace renga::kernels {

template <typename A, typename B>
inline constexpr bool kIsSame = false;
template <typename A>
inline constexpr bool kIsSame<A, A> = true;

// 2^exponent, exponent from -126 to 127.
__device__ __forceinline__ float PowerOfTwo(int exponent) {
  return FloatOfBits(static_cast<uint32_t>(exponent + 127) << 23);
}

inline constexpr float kLog2E = 1.44269504088896f;

__device__ __forceinline__ float WarpSum(float value) {
#pragma unroll
  for (int lane_mask = 16; lane_mask > 0; lane_mask /= 2) value += ShuffleXor(value, lane_mask);
  return value;
}
__device__ __forceinline__ float WarpMax(float value) {
#pragma unroll
  for (int lane_mask = 16; lane_mask > 0; lane_mask /= 2) {
    value = max(value, ShuffleXor(value, lane_mask));
  }
  return value;
}

// A power of two and its inverse.
struct RowScale {
  float scale, inverse;
};

// The one that brings `largest` >= 0 to 2^14..2^15. Infinity gets some finite one.
__device__ __forceinline__ RowScale ScaleOfLargest(float largest) {
  const int exponent = max(static_cast<int>(BitsOf(largest) >> 23), 15);
  return {FloatOfBits(static_cast<uint32_t>(268 - exponent) << 23),
          FloatOfBits(static_cast<uint32_t>(exponent - 14) << 23)};
}

}  // namespace renga::kernels
