// Types with super-blocks of 256: Q4_K, Q5_K, Q6_K. A step is one of them.
#pragma once

#include "codegen/kernels/weights.cuh"

namespace renga::kernels {

// d and minus dmin of rows g (lower half) and g + 8, times the tensor's power of two.
struct SuperScales {
  Half2 d, minus_m;
};

// What Q4_K and Q5_K share. The plane of scales has a word a block: the scales of both rows, then
// both minimums.
//
// A weight is S q - M, where S, a product of 6 and 11 bits, and M have no room in f16. M is mostly
// near the middle of S q, so either rounding is one of the largest weights, twice as much as a
// weight's own. With kMiddle codes are counted from the middle: S (q - middle) + (S middle - M).
// The second part is small, of S as it was before it was rounded, and what rounding S leaves is
// multiplied by half the codes. For one addition for two weights the error's square is a quarter;
// an 8B, whose decoding these additions bound, is 2 to 3 % slower for it.
template <int kScalesAt, uint32_t kMiddle>  // among the step's words; of the codes, 0: from zero
struct SixBitFormat {
  static constexpr int kMinBlocks = 8, kMaxBlocks = 8, kParts = 1;
  using Factor = HalfFactor;
  using Scales = SuperScales;
  static __device__ __forceinline__ Scales Prepare(const uint32_t* words, Factor factor) {
    const Half2 m = factor * Half2{words[kScalesAt + 9]};
    return {factor * Half2{words[kScalesAt + 8]}, Half2{m.bits ^ 0x80008000u}};
  }
  static __device__ __forceinline__ void Scale(const uint32_t* words, Scales scales, int b,
                                               const Fragments& codes, Fragments& a) {
    const uint32_t bytes = words[kScalesAt + b];
    const Half2 scale =
        Sub(Half2{BytePermute(bytes, 0x64646464u, 0x4140)}, Half2{0x64006400u});  // exact
    const Half2 minimum{BytePermute(bytes, 0, 0x4342)};                           // times 2^-24
    const Half2 rounded = Mul(scale, scales.d);
    if constexpr (kMiddle == 0) {
      ScaleCodes(codes, rounded, Mul(minimum, scales.minus_m), a);
      return;
    }
    const Half2 rest = Fma(scale, scales.d, Half2{rounded.bits ^ 0x80008000u});
    const Half2 middle{kMiddle * 0x10001u}, middle16{kMiddle * 0x100010u};  // times 2^-24
    const Half2 at_middle = Fma(rest, middle, Fma(minimum, scales.minus_m, Mul(rounded, middle)));
    Fragments centered;
#pragma unroll
    for (int h = 0; h < 2; ++h) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        centered[h][i] = Sub(Half2{codes[h][i]}, i < 2 ? middle : middle16).bits;  // exact
      }
    }
    ScaleCodes(centered, rounded, at_middle, a);
  }
  static __device__ __forceinline__ float Unscale(int exponent) {
    return PowerOfTwo(24 - exponent);
  }
};

template <uint32_t kMiddle>
struct FourBitSuper : SixBitFormat<16, kMiddle> {
  using typename SixBitFormat<16, kMiddle>::Scales;
  static constexpr int kPlanes = 3;
  static constexpr Plane kPlane[] = {{32, 16}, {8, 8}, {8, 2}};

  static __device__ __forceinline__ void Dequantize(const uint32_t* words, Scales scales, int b,
                                                    Fragments (&a)[1]) {
    Fragments codes;
    PairedNibbles(words + 2 * b, codes);
    FourBitSuper::Scale(words, scales, b, codes, a[0]);
  }
};
template <int kBlocks>
struct Q4_K : FourBitSuper<0> {};
template <int kBlocks>
struct Q4_K_FromMiddle : FourBitSuper<8> {};

template <uint32_t kMiddle>
struct FiveBitSuper : SixBitFormat<20, kMiddle> {
  using typename SixBitFormat<20, kMiddle>::Scales;
  static constexpr int kPlanes = 4;
  static constexpr Plane kPlane[] = {{32, 16}, {32, 4}, {8, 8}, {8, 2}};

  static __device__ __forceinline__ void Dequantize(const uint32_t* words, Scales scales, int b,
                                                    Fragments (&a)[1]) {
    Fragments codes;
    PairedNibbles(words + 2 * b, codes);
    AddFifthBits(words[16 + b / 2], b, codes);
    FiveBitSuper::Scale(words, scales, b, codes, a[0]);
  }
};
template <int kBlocks>
struct Q5_K : FiveBitSuper<0> {};
template <int kBlocks>
struct Q5_K_FromMiddle : FiveBitSuper<16> {};

// Scales are signed bytes, one for each 16 weights: a lane's eight lie in one of the two groups of
// the block.
template <int kBlocks>
struct Q6_K {
  static constexpr int kMinBlocks = 8, kMaxBlocks = 8, kPlanes = 4, kParts = 1;
  static constexpr Plane kPlane[] = {{32, 16}, {32, 8}, {16, 4}, {8, 1}};

  using Factor = HalfFactor;
  using Scales = Half2;  // d of both rows
  static __device__ __forceinline__ Scales Prepare(const uint32_t* words, Factor factor) {
    return factor * Half2{words[28]};
  }
  static __device__ __forceinline__ void Dequantize(const uint32_t* words, Scales d, int b,
                                                    Fragments (&a)[1]) {
    Fragments codes;
    PairedNibbles(words + 2 * b, codes);
    AddUpperPairs(words[16 + b], codes);
    const uint32_t bytes = words[24 + b / 2] ^ 0x80808080u;
    const uint32_t magic = BytePermute(bytes, 0x64646464u, b % 2 == 0 ? 0x4140 : 0x4342);
    const Half2 scales = Mul(Sub(Half2{magic}, Half2{0x64806480u}), d);  // 1024 + 128
    ScaleCodes(codes, scales, Mul(scales, Half2{0x80208020u}), a[0]);    // -32 * 2^-24
  }
  static __device__ __forceinline__ float Unscale(int exponent) {
    return PowerOfTwo(24 - exponent);
  }
};

}  // namespace renga::kernels
