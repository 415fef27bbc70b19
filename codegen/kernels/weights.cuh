// Weights in the layout of ir/base/mma_layout.h: where a warp finds a step of a tile, and how the
// words that a lane loads become fragments of A for mma.m16n8k16, f16. One struct a type:
//
//   template <int kBlocks> struct Q4_0      kBlocks blocks of 32 k in a step
//     kMinBlocks, kMaxBlocks                what a step may have
//     kPlanes, kPlane[]                     the planes, as in the layout
//     kParts                                1, or 2 where a weight takes the sum of two f16
//     Factor                                the tensor's power of two as this type applies it
//     Prepare(words, factor)                once a step: Scales
//     Dequantize(words, scales, b, a)       block b: a[part][h], h = 0 for the lane's weights 0 to
//     3,
//                                           1 for 4 to 7
//     Unscale(exponent)                     what the sums are to be multiplied by
//
// How codes become f16. A masked nibble n in a half is the subnormal n * 2^-24 (or, four bits
// higher, n * 2^-20), and Fma takes subnormals at full speed: one AND and one Fma for two weights,
// with the scale S = d * 2^x and the minimum multiplied by 2^-24. Bytes become the f16 1024 + b by
// one permutation, which is exact. The tensor's exponent x brings the scales up to where f16 is
// dense; the sums come down again in f32.
//
// weights_plain.cuh, weights_blocks.cuh and weights_super.cuh have the types.
#pragma once

#include "codegen/kernels/numbers.cuh"

namespace renga::kernels {

struct Plane {
  int units;  // 8, 16 or 32 share an item
  int words;  // of each
};

// Rows of kK weights in memory, however many. `Format` is one of the types.
template <template <int> class Format, int kK_>
struct PackedLayout {
  static constexpr int kK = kK_;

  static __host__ __device__ constexpr int StepBlocks() {
    constexpr int kMin = Format<8>::kMinBlocks;
    constexpr int kAll = ((kK + 31) / 32 + kMin - 1) / kMin * kMin;
    int blocks = Format<8>::kMaxBlocks;
    while (kAll % blocks != 0) blocks /= 2;
    return blocks;
  }
  static constexpr int kBlocks = StepBlocks();
  using Type = Format<kBlocks>;

  static constexpr int kStepK = 32 * kBlocks;
  static constexpr int kSteps = (kK + kStepK - 1) / kStepK;
  static constexpr int kPaddedK = kSteps * kStepK;

  // Where a plane's words start among those of a step in registers.
  static __host__ __device__ constexpr int FirstWord(int plane) {
    int first = 0;
    for (int p = 0; p < plane; ++p) first += Type::kPlane[p].words;
    return first;
  }

  // The words of a lane in an item (tile * kSteps + step).
  struct Step {
    uint32_t words[FirstWord(Type::kPlanes)];
  };

  // A weight as a lane sees it: where in each plane its words of item 0 are.
  class View {
   public:
    // `tiles` of 16 rows.
    __device__ __forceinline__ View(const void* packed, int tiles, int lane) {
      FindPlane<0>(static_cast<const uint8_t*>(packed), tiles, lane);
    }
    __device__ __forceinline__ void Load(uint32_t item, Step& step) const {
      LoadPlane<0>(item, step);
    }
    __device__ __forceinline__ int LoadExponent() const {
      return LoadStreaming(reinterpret_cast<const int32_t*>(tail_));
    }

   private:
    template <int kIndex>
    __device__ __forceinline__ void FindPlane(const uint8_t* plane, int tiles, int lane) {
      if constexpr (kIndex < Type::kPlanes) {
        constexpr int kUnits = Type::kPlane[kIndex].units, kWords = Type::kPlane[kIndex].words;
        constexpr int64_t kTileBytes = int64_t{kSteps} * kUnits * kWords * 4;
        plane_[kIndex] = plane + lane / (32 / kUnits) * (kWords < 4 ? kWords : 4) * 4;
        FindPlane<kIndex + 1>(plane + (tiles * kTileBytes + 255) / 256 * 256, tiles, lane);
      } else {
        tail_ = plane;
      }
    }
    template <int kIndex>
    __device__ __forceinline__ void LoadPlane(uint32_t item, Step& step) const {
      if constexpr (kIndex < Type::kPlanes) {
        constexpr int kUnits = Type::kPlane[kIndex].units, kWords = Type::kPlane[kIndex].words;
        constexpr int kChunk = kWords < 4 ? kWords : 4;
        constexpr int kFirst = FirstWord(kIndex);
        const uint8_t* mine = plane_[kIndex] + static_cast<uint64_t>(item) * (kUnits * kWords * 4);
#pragma unroll
        for (int c = 0; c < kWords / kChunk; ++c) {
          const uint8_t* from = mine + c * (kUnits * kChunk * 4);
          uint32_t* words = step.words + kFirst + c * kChunk;
          if constexpr (kChunk == 4) {
            const uint4 v = LoadStreaming(reinterpret_cast<const uint4*>(from));
            words[0] = v.x, words[1] = v.y, words[2] = v.z, words[3] = v.w;
          } else if constexpr (kChunk == 2) {
            const uint2 v = LoadStreaming(reinterpret_cast<const uint2*>(from));
            words[0] = v.x, words[1] = v.y;
          } else {
            words[0] = LoadStreaming(reinterpret_cast<const uint32_t*>(from));
          }
        }
        LoadPlane<kIndex + 1>(item, step);
      }
    }

    const uint8_t* plane_[Type::kPlanes];
    const uint8_t* tail_;
  };
};

// A weight of kRows x kK, as a Config names it: Packed<Q4_K, 4096, 14336>.
template <template <int> class Format, int kRows_, int kK_>
struct Packed : PackedLayout<Format, kK_> {
  using Layout = PackedLayout<Format, kK_>;
  static constexpr int kRows = kRows_, kTiles = (kRows + 15) / 16;
};

// A of the two products of a block of 32 k.
using Fragments = uint32_t[2][4];

// 2^exponent, exponent from -14 to 15, in both halves.
__device__ __forceinline__ Half2 PowerOfTwoPair(int exponent) {
  return Half2{static_cast<uint32_t>((exponent + 15) << 10) * 0x10001u};
}
// 2^x as two factors that f16 can hold, x from -28 to 30.
struct HalfFactor {
  Half2 first, second;
  static __device__ __forceinline__ HalfFactor Of(int exponent) {
    const int first = max(min(exponent, 15), -14);
    return {PowerOfTwoPair(first), PowerOfTwoPair(exponent - first)};
  }
  __device__ __forceinline__ Half2 operator*(Half2 x) const { return Mul(Mul(x, first), second); }
};

// Codes as f16 subnormals, times scales, plus minimums, of row g in the lower halves, of row g + 8
// in the upper ones. codes[h] = {row g, row g + 8} at bit 0, then both at bit 4.
__device__ __forceinline__ void ScaleCodes(const Fragments& codes, Half2 scales, Half2 minimums,
                                           Fragments& a) {
  const Half2 sixteenths = Mul(scales, Half2{0x2c002c00u});
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    a[h][0] = Fma(Half2{codes[h][0]}, SplatLow(scales), SplatLow(minimums)).bits;
    a[h][1] = Fma(Half2{codes[h][1]}, SplatHigh(scales), SplatHigh(minimums)).bits;
    a[h][2] = Fma(Half2{codes[h][2]}, SplatLow(sixteenths), SplatLow(minimums)).bits;
    a[h][3] = Fma(Half2{codes[h][3]}, SplatHigh(sixteenths), SplatHigh(minimums)).bits;
  }
}

// The nibbles of a block: `words` are those of row g and of row g + 8.
__device__ __forceinline__ void PairedNibbles(const uint32_t* words, Fragments& codes) {
#pragma unroll
  for (int h = 0; h < 2; ++h) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const uint32_t word = h == 0 ? words[r] : words[r] >> 8;
      codes[h][r] = word & 0x000f000fu;
      codes[h][2 + r] = word & 0x00f000f0u;
    }
  }
}

// Adds the fifth bits; `bits` is the word of blocks b and b ^ 1.
__device__ __forceinline__ void AddFifthBits(uint32_t bits, int b, Fragments& codes) {
#pragma unroll
  for (int h = 0; h < 2; ++h) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int u = b % 2 * 4 + r * 2 + h;
      const uint32_t shifted = u < 4 ? bits << (4 - u) : bits >> u;
      codes[h][r] |= shifted & 0x00100010u;
      codes[h][2 + r] |= shifted & 0x01000100u;
    }
  }
}

// Adds bits 4 and 5; `bits` is the word of the block.
__device__ __forceinline__ void AddUpperPairs(uint32_t bits, Fragments& codes) {
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const uint32_t early = r == 0 ? bits : bits << 4, late = r == 0 ? bits : bits >> 4;
    codes[0][r] |= early & 0x00300030u;
    codes[0][2 + r] |= late & 0x03000300u;
    const uint32_t early2 = r == 0 ? bits >> 2 : bits << 2, late2 = bits >> (r == 0 ? 2 : 6);
    codes[1][r] |= early2 & 0x00300030u;
    codes[1][2 + r] |= late2 & 0x03000300u;
  }
}

// Four bytes b - 128 times a scale, each exact before that.
__device__ __forceinline__ void ScaleBytes(uint32_t bytes, Half2 scale, uint32_t& low,
                                           uint32_t& high) {
  const Half2 offset{0x64806480u};  // 1024 + 128
  low = Mul(Sub(Half2{BytePermute(bytes, 0x64646464u, 0x4140)}, offset), scale).bits;
  high = Mul(Sub(Half2{BytePermute(bytes, 0x64646464u, 0x4342)}, offset), scale).bits;
}

// Entries of a table of 16 bytes, in order of the table, that four nibbles choose.
struct ByteTable {
  uint32_t bytes[4];
  __device__ __forceinline__ uint32_t Look(uint32_t nibbles) const {
    const uint32_t index = nibbles & 0x7777u, upper = 0x3210u | (nibbles & 0x8888u) >> 1;
    return BytePermute(BytePermute(bytes[0], bytes[1], index),
                       BytePermute(bytes[2], bytes[3], index), upper);
  }
};

}  // namespace renga::kernels
