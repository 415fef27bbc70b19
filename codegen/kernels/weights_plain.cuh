// Weights without blocks. F16 goes as it is. BF16 has fewer digits than f16 and, moved by the
// tensor's power of two, becomes f16 exactly unless it is 2^-29 of the tensor's largest or less.
// F32 becomes the sum of two f16, which keeps 22 digits.
#pragma once

#include "codegen/kernels/weights.cuh"

namespace renga::kernels {

template <int kBlocks>
struct F16 {
  static constexpr int kMinBlocks = 1, kMaxBlocks = 2, kPlanes = 1, kParts = 1;
  static constexpr Plane kPlane[] = {{32, 8 * kBlocks}};

  struct Factor {
    static __device__ __forceinline__ Factor Of(int) { return {}; }
  };
  struct Scales {};
  static __device__ __forceinline__ Scales Prepare(const uint32_t*, Factor) { return {}; }
  static __device__ __forceinline__ void Dequantize(const uint32_t* words, Scales, int b,
                                                    Fragments (&a)[1]) {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
#pragma unroll
      for (int i = 0; i < 4; ++i) a[0][h][i] = words[b * 8 + i % 2 * 4 + h * 2 + i / 2];
    }
  }
  static __device__ __forceinline__ float Unscale(int) { return 1.0f; }
};

template <int kBlocks>
struct BF16 {
  static constexpr int kMinBlocks = 1, kMaxBlocks = 2, kPlanes = 1, kParts = 1;
  static constexpr Plane kPlane[] = {{32, 8 * kBlocks}};

  struct Factor {
    float power;
    static __device__ __forceinline__ Factor Of(int exponent) { return {PowerOfTwo(exponent)}; }
  };
  using Scales = Factor;
  static __device__ __forceinline__ Scales Prepare(const uint32_t*, Factor factor) {
    return factor;
  }
  static __device__ __forceinline__ void Dequantize(const uint32_t* words, Scales scales, int b,
                                                    Fragments (&a)[1]) {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const uint32_t pair = words[b * 8 + i % 2 * 4 + h * 2 + i / 2];
        a[0][h][i] = ToHalf2(FloatOfBits(pair << 16) * scales.power,
                             FloatOfBits(pair & 0xffff0000u) * scales.power)
                         .bits;
      }
    }
  }
  static __device__ __forceinline__ float Unscale(int exponent) { return PowerOfTwo(-exponent); }
};

template <int kBlocks>
struct F32 {
  static constexpr int kMinBlocks = 1, kMaxBlocks = 1, kPlanes = 1, kParts = 2;
  static constexpr Plane kPlane[] = {{32, 16 * kBlocks}};

  struct Factor {
    float power;
    static __device__ __forceinline__ Factor Of(int exponent) { return {PowerOfTwo(exponent)}; }
  };
  using Scales = Factor;
  static __device__ __forceinline__ Scales Prepare(const uint32_t*, Factor factor) {
    return factor;
  }
  static __device__ __forceinline__ void Dequantize(const uint32_t* words, Scales scales, int b,
                                                    Fragments (&a)[2]) {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const uint32_t* pair = words + b * 16 + i % 2 * 8 + h * 4 + i / 2 * 2;
        const float first = FloatOfBits(pair[0]) * scales.power;
        const float second = FloatOfBits(pair[1]) * scales.power;
        const Half2 rounded = ToHalf2(first, second);
        a[0][h][i] = rounded.bits;
        a[1][h][i] = ToHalf2(first - LowToFloat(rounded), second - HighToFloat(rounded)).bits;
      }
    }
  }
  static __device__ __forceinline__ float Unscale(int exponent) { return PowerOfTwo(-exponent); }
};

}  // namespace renga::kernels
