// Types with a scale for each 32 weights: Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, IQ4_NL, MXFP4.
#pragma once

#include "codegen/kernels/weights.cuh"

namespace renga::kernels {

// What those with d in f16 share. The plane of scales has a word a block: d of row g, of row g + 8.
struct BlockFormat {
  using Factor = HalfFactor;
  using Scales = HalfFactor;
  static __device__ __forceinline__ Scales Prepare(const uint32_t*, Factor factor) {
    return factor;
  }
};
// For codes that were used as subnormals.
struct NibbleFormat : BlockFormat {
  static __device__ __forceinline__ float Unscale(int exponent) {
    return PowerOfTwo(24 - exponent);
  }
};
struct ByteFormat : BlockFormat {
  static __device__ __forceinline__ float Unscale(int exponent) { return PowerOfTwo(-exponent); }
};

template <int kBlocks>
struct Q8_0 : ByteFormat {
  static constexpr int kMinBlocks = 1, kMaxBlocks = 4, kPlanes = 2, kParts = 1;
  static constexpr Plane kPlane[] = {{32, 4 * kBlocks}, {8, kBlocks}};

  static __device__ __forceinline__ void Dequantize(const uint32_t* words, Scales factor, int b,
                                                    Fragments (&a)[1]) {
    const Half2 scales = factor * Half2{words[4 * kBlocks + b]};
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      ScaleBytes(words[b * 4 + h] ^ 0x80808080u, SplatLow(scales), a[0][h][0], a[0][h][2]);
      ScaleBytes(words[b * 4 + 2 + h] ^ 0x80808080u, SplatHigh(scales), a[0][h][1], a[0][h][3]);
    }
  }
};

template <int kBlocks>
struct Q4_0 : NibbleFormat {
  static constexpr int kMinBlocks = 2, kMaxBlocks = 8, kPlanes = 2, kParts = 1;
  static constexpr Plane kPlane[] = {{32, 2 * kBlocks}, {8, kBlocks}};

  static __device__ __forceinline__ void Dequantize(const uint32_t* words, Scales factor, int b,
                                                    Fragments (&a)[1]) {
    const Half2 scales = factor * Half2{words[2 * kBlocks + b]};
    Fragments codes;
    PairedNibbles(words + 2 * b, codes);
    ScaleCodes(codes, scales, Mul(scales, Half2{0x80088008u}), a[0]);  // -8 * 2^-24
  }
};

// Those with a minimum too, which enters beside codes that are multiplied by 2^-24. The plane of
// scales has two words a block: both d, both m.
struct MinimumFormat {
  struct Factor {
    HalfFactor d, m;
    static __device__ __forceinline__ Factor Of(int exponent) {
      return {HalfFactor::Of(exponent), HalfFactor::Of(exponent - 24)};
    }
  };
  using Scales = Factor;
  static __device__ __forceinline__ Scales Prepare(const uint32_t*, Factor factor) {
    return factor;
  }
  static __device__ __forceinline__ float Unscale(int exponent) {
    return PowerOfTwo(24 - exponent);
  }
};

template <int kBlocks>
struct Q4_1 : MinimumFormat {
  static constexpr int kMinBlocks = 2, kMaxBlocks = 4, kPlanes = 2, kParts = 1;
  static constexpr Plane kPlane[] = {{32, 2 * kBlocks}, {8, 2 * kBlocks}};

  static __device__ __forceinline__ void Dequantize(const uint32_t* words, Scales factor, int b,
                                                    Fragments (&a)[1]) {
    constexpr int kScales = 2 * kBlocks;
    Fragments codes;
    PairedNibbles(words + 2 * b, codes);
    ScaleCodes(codes, factor.d * Half2{words[kScales + 2 * b]},
               factor.m * Half2{words[kScales + 2 * b + 1]}, a[0]);
  }
};

template <int kBlocks>
struct Q5_0 : NibbleFormat {
  static constexpr int kMinBlocks = 2, kMaxBlocks = 8, kPlanes = 3, kParts = 1;
  static constexpr Plane kPlane[] = {{32, 2 * kBlocks}, {32, kBlocks / 2}, {8, kBlocks}};

  static __device__ __forceinline__ void Dequantize(const uint32_t* words, Scales factor, int b,
                                                    Fragments (&a)[1]) {
    constexpr int kFifths = 2 * kBlocks, kScales = kFifths + kBlocks / 2;
    const Half2 scales = factor * Half2{words[kScales + b]};
    Fragments codes;
    PairedNibbles(words + 2 * b, codes);
    AddFifthBits(words[kFifths + b / 2], b, codes);
    ScaleCodes(codes, scales, Mul(scales, Half2{0x80108010u}), a[0]);  // -16 * 2^-24
  }
};

template <int kBlocks>
struct Q5_1 : MinimumFormat {
  static constexpr int kMinBlocks = 2, kMaxBlocks = 4, kPlanes = 3, kParts = 1;
  static constexpr Plane kPlane[] = {{32, 2 * kBlocks}, {32, kBlocks / 2}, {8, 2 * kBlocks}};

  static __device__ __forceinline__ void Dequantize(const uint32_t* words, Scales factor, int b,
                                                    Fragments (&a)[1]) {
    constexpr int kFifths = 2 * kBlocks, kScales = kFifths + kBlocks / 2;
    Fragments codes;
    PairedNibbles(words + 2 * b, codes);
    AddFifthBits(words[kFifths + b / 2], b, codes);
    ScaleCodes(codes, factor.d * Half2{words[kScales + 2 * b]},
               factor.m * Half2{words[kScales + 2 * b + 1]}, a[0]);
  }
};

// Levels from -127 to 113, here with 128 added.
template <int kBlocks>
struct IQ4_NL : ByteFormat {
  static constexpr int kMinBlocks = 2, kMaxBlocks = 8, kPlanes = 2, kParts = 1;
  static constexpr Plane kPlane[] = {{32, 2 * kBlocks}, {8, kBlocks}};

  static __device__ __forceinline__ void Dequantize(const uint32_t* words, Scales factor, int b,
                                                    Fragments (&a)[1]) {
    const ByteTable levels = {{0x3f2d1801u, 0x766a5d4fu, 0xa6998d81u, 0xf1d9c5b5u}};
    const Half2 scales = factor * Half2{words[2 * kBlocks + b]};
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      ScaleBytes(levels.Look(words[2 * b] >> 16 * h), SplatLow(scales), a[0][h][0], a[0][h][2]);
      ScaleBytes(levels.Look(words[2 * b + 1] >> 16 * h), SplatHigh(scales), a[0][h][1],
                 a[0][h][3]);
    }
  }
};

// A code of E2M1 is the upper byte of the f16 of its value. A scale is 2^(e - 127), and one below
// 2^-26 of the tensor's largest counts as zero.
template <int kBlocks>
struct MXFP4 {
  static constexpr int kMinBlocks = 2, kMaxBlocks = 8, kPlanes = 2, kParts = 1;
  static constexpr Plane kPlane[] = {{32, 2 * kBlocks}, {8, kBlocks / 2}};

  struct Factor {
    int bias;  // that makes the exponent byte f16's
    static __device__ __forceinline__ Factor Of(int exponent) { return {exponent - 127 + 15}; }
  };
  using Scales = Factor;
  static __device__ __forceinline__ Scales Prepare(const uint32_t*, Factor factor) {
    return factor;
  }
  static __device__ __forceinline__ void Dequantize(const uint32_t* words, Scales factor, int b,
                                                    Fragments (&a)[1]) {
    const ByteTable codes = {{0x3e3c3800u, 0x46444240u, 0xbebcb800u, 0xc6c4c2c0u}};
    const uint32_t exponents = words[2 * kBlocks + b / 2] >> b % 2 * 16;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int exponent = static_cast<int>(exponents >> 8 * r & 255u) + factor.bias;
      const Half2 scale{static_cast<uint32_t>(max(exponent, 0) << 10) * 0x10001u};
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const uint32_t upper = codes.Look(words[2 * b + r] >> 16 * h);
        a[0][h][r] = Mul(Half2{BytePermute(upper, 0, 0x1404)}, scale).bits;
        a[0][h][2 + r] = Mul(Half2{BytePermute(upper, 0, 0x3424)}, scale).bits;
      }
    }
  }
  static __device__ __forceinline__ float Unscale(int exponent) { return PowerOfTwo(-exponent); }
};

}  // namespace renga::kernels
