// What a type's blocks hold, and where its words lie in the layout for mma, for pack.cuh. `b` is a
// block of 32 k, counted from the start of the bytes at hand; q a quarter of it, 8 weights.
//
//   struct PackQ4_0 {
//     kElements, kBytes     of a block of the file
//     kGroupBlocks          blocks of 32 k that a block of threads packs at a time
//     kPlane[kPlanes]       units and words for a step of 8 blocks, as ir/base/mma_layout.cc has
//     them kBoundExponent, kMost of the exponent: bound * 2^x < 2^kBoundExponent, x <= kMost
//     Word<plane>(rows, first, unit, w)  word w of a unit, of the step that starts at block `first`
//     Key(row, i)           KeyOf the bound of block i of the file's
//   }
#pragma once

#include "codegen/kernels/numbers.cuh"

namespace renga::kernels {

struct PackPlane {
  int units, words;
};

// The bytes of a row, from a multiple of 4 on, one word more than there are bytes.
struct RawRow {
  const uint32_t* words;

  __device__ __forceinline__ uint32_t Byte(int at) const {
    return words[at / 4] >> at % 4 * 8 & 0xffu;
  }
  // At an even place.
  __device__ __forceinline__ uint32_t HalfBits(int at) const {
    return words[at / 4] >> at % 4 * 8 & 0xffffu;
  }
  __device__ __forceinline__ float HalfValue(int at) const {
    return ToFloat(Half{static_cast<uint16_t>(HalfBits(at))});
  }
  // Four bytes at any place; kAligned: at a multiple of 4.
  template <bool kAligned>
  __device__ __forceinline__ uint32_t Word(int at) const {
    if constexpr (kAligned) return words[at / 4];
    return FunnelShiftRight(words[at / 4], words[at / 4 + 1], at % 4 * 8);
  }
};

// Rows g and g + 8 of a tile.
struct RawRows {
  RawRow low, high;
  // 0 or 1. No array: one that is indexed at run time would live in local memory.
  __device__ __forceinline__ RawRow Of(int i) const { return i == 0 ? low : high; }
};

// A bound as an integer in the same order: 0 for 0, else 256 + e with bound < 2^e, as small as can
// be. Values that are not finite bound nothing.
__device__ __forceinline__ uint32_t KeyOf(float bound) {
  const uint32_t bits = BitsOf(bound) & 0x7fffffffu;
  if (bits == 0 || bits >= 0x7f800000u) return 0;
  if (bits >= 0x800000u) return 256 + (bits >> 23) - 126;
  return 256 - 149 + 32 - static_cast<uint32_t>(LeadingZeros(bits));
}
__device__ __forceinline__ float FiniteSize(float x) {
  const float size = FloatOfBits(BitsOf(x) & 0x7fffffffu);
  return size < Infinity() ? size : 0.0f;  // nor NaN
}

// ---- Codes ----

// Four weights a byte each, as nibbles: weights 0 and 2 in the lower byte, 1 and 3 in the next.
__device__ __forceinline__ uint32_t EvenOddNibbles(uint32_t bytes) { return bytes | bytes >> 12; }
// Eight weights at the nibbles {0, 4, 1, 5, 2, 6, 3, 7}.
__device__ __forceinline__ uint32_t PairNibbles(uint32_t low, uint32_t high) {
  return BytePermute(EvenOddNibbles(low), EvenOddNibbles(high), 0x5140u);
}
// Eight weights at nibble j each.
__device__ __forceinline__ uint32_t OrderNibbles(uint32_t low, uint32_t high) {
  return BytePermute(low | low >> 4, high | high >> 4, 0x6420u);
}

// The lowest bit of each byte, in one nibble.
__device__ __forceinline__ uint32_t LowBits(uint32_t bytes) {
  return (bytes & 0x01010101u) * 0x01020408u >> 24;
}
// Bit j of eight at 16 (j % 2) + 4 (j / 2 % 2) + j / 4: where the first shift has the fifth bits.
__device__ __forceinline__ uint32_t SpreadFifth(uint32_t bits) {
  uint32_t word = 0;
#pragma unroll
  for (int j = 0; j < 8; ++j) {
    word |= (bits >> j & 1u) << (j % 2 * 16 + j / 2 % 2 * 4 + j / 4);
  }
  return word;
}
// Upper pairs of four weights, a byte each, at `even` and `odd` of both halves.
__device__ __forceinline__ uint32_t SpreadPairs(uint32_t bytes, int even, int odd) {
  return (bytes & 3u) << even | (bytes >> 8 & 3u) << (even + 16) | (bytes >> 16 & 3u) << odd |
         (bytes >> 24 & 3u) << (odd + 16);
}

// Types of nibbles: 8 bytes in a row have those of 8 weights, at Type::At(b, q), all of them
// `Type::Shift(b, q)` bits up.
template <class Type, bool kInOrder>
__device__ __forceinline__ uint32_t NibbleWord(const RawRows& rows, int first, int q, int w) {
  constexpr bool kAligned = Type::kBytes % 4 == 0;
  const int b = first + w / 2, at = Type::At(b, q), shift = Type::Shift(b, q);
  const RawRow row = rows.Of(w % 2);
  const uint32_t low = row.template Word<kAligned>(at) >> shift & 0x0f0f0f0fu;
  const uint32_t high = row.template Word<kAligned>(at + 4) >> shift & 0x0f0f0f0fu;
  return kInOrder ? OrderNibbles(low, high) : PairNibbles(low, high);
}
// Fifth bits, Type::Fifth(row, b, q) the eight of a quarter.
template <class Type>
__device__ __forceinline__ uint32_t FifthWord(const RawRows& rows, int first, int q, int w) {
  uint32_t word = 0;
#pragma unroll
  for (int i = 0; i < 4; ++i) {  // block i / 2 of two, row i % 2
    const int b = first + w * 2 + i / 2;
    word |= SpreadFifth(Type::Fifth(rows.Of(i % 2), b, q)) << (i / 2 * 8 + i % 2 * 2);
  }
  return word;
}

// ---- Scales ----

template <class Type>
__device__ __forceinline__ uint32_t BothHalves(const RawRows& rows, int at) {
  return rows.Of(0).HalfBits(at) | rows.Of(1).HalfBits(at) << 16;
}
// d of a block, or d and m: words 2 b and 2 b + 1.
template <class Type>
__device__ __forceinline__ uint32_t HalvesWord(const RawRows& rows, int first, int w) {
  if constexpr (Type::kHalves == 1) return BothHalves<Type>(rows, (first + w) * Type::kBytes);
  return BothHalves<Type>(rows, (first + w / 2) * Type::kBytes + w % 2 * 2);
}

// ---- Plain types ----

template <int kElementBytes>
struct PackPlain {
  static constexpr int kElements = 32, kBytes = 32 * kElementBytes;
  static constexpr int kGroupBlocks = 32 / kElementBytes, kPlanes = 1;
  static constexpr int kBlockWords = 4 * kElementBytes;  // of a lane
  static constexpr PackPlane kPlane[] = {{32, 8 * kBlockWords}};

  template <int kPlane>
  static __device__ __forceinline__ uint32_t Word(const RawRows& rows, int first, int lane, int w) {
    constexpr int kRowWords = kBlockWords / 2;
    const int b = first + w / kBlockWords, of_row = w % kBlockWords % kRowWords;
    return rows.Of(w % kBlockWords / kRowWords)
        .words[b * kBytes / 4 + lane % 4 * kRowWords + of_row];
  }
};
struct PackF16 : PackPlain<2> {
  static constexpr int kBoundExponent = 0, kMost = 0;
  static __device__ __forceinline__ uint32_t Key(const RawRow&, int) { return 0; }
};
struct PackBF16 : PackPlain<2> {
  static constexpr int kBoundExponent = 15, kMost = 100;
  static __device__ __forceinline__ uint32_t Key(const RawRow& row, int i) {
    uint32_t key = 0;
    for (int w = 0; w < kBytes / 4; ++w) {
      const uint32_t word = row.words[i * kBytes / 4 + w];
      key = max(key, KeyOf(FloatOfBits(word << 16)));
      key = max(key, KeyOf(FloatOfBits(word & 0xffff0000u)));
    }
    return key;
  }
};
struct PackF32 : PackPlain<4> {
  static constexpr int kBoundExponent = 15, kMost = 100;
  static __device__ __forceinline__ uint32_t Key(const RawRow& row, int i) {
    uint32_t key = 0;
    for (int w = 0; w < kBytes / 4; ++w) {
      key = max(key, KeyOf(FloatOfBits(row.words[i * kBytes / 4 + w])));
    }
    return key;
  }
};

// ---- Types with scales for each 32 weights ----

// Nibbles from kQuants on, byte j with weights j and j + 16; kTypeHalves f16 numbers first.
template <int kTypeBytes, int kQuants, int kTypeHalves>
struct PackBlocks {
  static constexpr int kElements = 32, kBytes = kTypeBytes, kHalves = kTypeHalves;
  static constexpr int kGroupBlocks = 64;
  static constexpr int kBoundExponent = 15, kMost = 30;
  static __device__ __forceinline__ int At(int b, int q) {
    return b * kBytes + kQuants + q % 2 * 8;
  }
  static __device__ __forceinline__ int Shift(int, int q) { return q / 2 * 4; }
};

// d, and m for a minimum that enters multiplied by 2^-24.
template <class Type>
__device__ __forceinline__ uint32_t KeyOfHalves(const RawRow& row, int i) {
  float bound = FiniteSize(row.HalfValue(i * Type::kBytes));
  if constexpr (Type::kHalves == 2) {
    bound = max(bound, FiniteSize(row.HalfValue(i * Type::kBytes + 2)) * 0x1p-24f);
  }
  return KeyOf(bound);
}

template <class Blocks, bool kInOrder, int kTimes = 1>
struct PackNibbles : Blocks {
  static constexpr int kPlanes = 2;
  static constexpr PackPlane kPlane[] = {{32, 16}, {8, 8 * Blocks::kHalves}};
  template <int kPlane>
  static __device__ __forceinline__ uint32_t Word(const RawRows& rows, int first, int unit, int w) {
    if constexpr (kPlane == 0) return NibbleWord<Blocks, kInOrder>(rows, first, unit % 4, w);
    return HalvesWord<Blocks>(rows, first, w);
  }
  static __device__ __forceinline__ uint32_t Key(const RawRow& row, int i) {
    if constexpr (kTimes == 1) return KeyOfHalves<Blocks>(row, i);
    return KeyOf(kTimes * FiniteSize(row.HalfValue(i * Blocks::kBytes)));
  }
};
struct PackQ4_0 : PackNibbles<PackBlocks<18, 2, 1>, false> {};
struct PackQ4_1 : PackNibbles<PackBlocks<20, 4, 2>, false> {};
struct PackIQ4_NL : PackNibbles<PackBlocks<18, 2, 1>, true, 128> {};

// The fifth bits are those of four bytes before the nibbles, in order.
template <class Blocks>
struct PackFifth : Blocks {
  static constexpr int kPlanes = 3;
  static constexpr PackPlane kPlane[] = {{32, 16}, {32, 4}, {8, 8 * Blocks::kHalves}};
  static __device__ __forceinline__ uint32_t Fifth(const RawRow& row, int b, int q) {
    return row.Byte(b * Blocks::kBytes + Blocks::kHalves * 2 + q);
  }
  template <int kPlane>
  static __device__ __forceinline__ uint32_t Word(const RawRows& rows, int first, int unit, int w) {
    if constexpr (kPlane == 0) return NibbleWord<Blocks, false>(rows, first, unit % 4, w);
    if constexpr (kPlane == 1) return FifthWord<PackFifth>(rows, first, unit % 4, w);
    return HalvesWord<Blocks>(rows, first, w);
  }
  static __device__ __forceinline__ uint32_t Key(const RawRow& row, int i) {
    return KeyOfHalves<Blocks>(row, i);
  }
};
struct PackQ5_0 : PackFifth<PackBlocks<22, 6, 1>> {};
struct PackQ5_1 : PackFifth<PackBlocks<24, 8, 2>> {};

struct PackQ8_0 {
  static constexpr int kElements = 32, kBytes = 34, kHalves = 1, kGroupBlocks = 64;
  static constexpr int kBoundExponent = 15, kMost = 30;
  static constexpr int kPlanes = 2;
  static constexpr PackPlane kPlane[] = {{32, 32}, {8, 8}};
  template <int kPlane>
  static __device__ __forceinline__ uint32_t Word(const RawRows& rows, int first, int unit, int w) {
    if constexpr (kPlane == 1) return HalvesWord<PackQ8_0>(rows, first, w);
    const int at = (first + w / 4) * kBytes + 2 + unit % 4 * 8 + w % 2 * 4;
    return rows.Of(w / 2 % 2).template Word<false>(at);
  }
  static __device__ __forceinline__ uint32_t Key(const RawRow& row, int i) {
    return KeyOf(128 * FiniteSize(row.HalfValue(i * kBytes)));
  }
};

struct PackMXFP4 {
  using Blocks = PackBlocks<17, 1, 0>;
  static constexpr int kElements = 32, kBytes = 17, kGroupBlocks = Blocks::kGroupBlocks;
  static constexpr int kBoundExponent = 13, kMost = 100;
  static constexpr int kPlanes = 2;
  static constexpr PackPlane kPlane[] = {{32, 16}, {8, 4}};
  template <int kPlane>
  static __device__ __forceinline__ uint32_t Word(const RawRows& rows, int first, int unit, int w) {
    if constexpr (kPlane == 0) return NibbleWord<Blocks, true>(rows, first, unit % 4, w);
    uint32_t word = 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      word |= rows.Of(i % 2).Byte((first + w * 2 + i / 2) * kBytes) << (i * 8);
    }
    return word;
  }
  // 2^(e - 127) < 2^(e - 126).
  static __device__ __forceinline__ uint32_t Key(const RawRow& row, int i) {
    return 256 - 126 + row.Byte(i * kBytes);
  }
};

// ---- Super-blocks ----

// d, dmin, 12 bytes of scales and minimums; nibbles from kQuants on, 64 weights to 32 bytes.
template <int kTypeBytes, int kQuants>
struct PackSuper {
  static constexpr int kElements = 256, kBytes = kTypeBytes, kGroupBlocks = 64;
  static constexpr int kBoundExponent = 15, kMost = 30;
  static __device__ __forceinline__ int At(int b, int q) {
    return b / 8 * kBytes + kQuants + b % 8 / 2 * 32 + q * 8;
  }
  static __device__ __forceinline__ int Shift(int b, int) { return b % 2 * 4; }
  static __device__ __forceinline__ uint32_t Scale(const RawRow& row, int b) {
    const int at = b / 8 * kBytes + 4, group = b % 8;
    if (group < 4) return row.Byte(at + group) & 63u;
    return (row.Byte(at + group + 4) & 15u) | row.Byte(at + group - 4) >> 6 << 4;
  }
  static __device__ __forceinline__ uint32_t Minimum(const RawRow& row, int b) {
    const int at = b / 8 * kBytes + 4, group = b % 8;
    if (group < 4) return row.Byte(at + group + 4) & 63u;
    return row.Byte(at + group + 4) >> 4 | row.Byte(at + group) >> 6 << 4;
  }
  static __device__ __forceinline__ uint32_t ScalesWord(const RawRows& rows, int first, int w) {
    const int b = first + w;
    return Scale(rows.Of(0), b) | Scale(rows.Of(1), b) << 8 | Minimum(rows.Of(0), b) << 16 |
           Minimum(rows.Of(1), b) << 24;
  }
  // w = 0: both d, 1: both dmin.
  static __device__ __forceinline__ uint32_t EndsWord(const RawRows& rows, int first, int w) {
    return BothHalves<PackSuper>(rows, first / 8 * kBytes + w * 2);
  }
  static __device__ __forceinline__ uint32_t Key(const RawRow& row, int i) {
    uint32_t scale = 1;
#pragma unroll
    for (int group = 0; group < 8; ++group) scale = max(scale, Scale(row, i * 8 + group));
    const float d = FiniteSize(row.HalfValue(i * kBytes)) * static_cast<float>(scale);
    return KeyOf(max(d, FiniteSize(row.HalfValue(i * kBytes + 2))));
  }
};
struct PackQ4_K : PackSuper<144, 16> {
  static constexpr int kPlanes = 3;
  static constexpr PackPlane kPlane[] = {{32, 16}, {8, 8}, {8, 2}};
  template <int kPlane>
  static __device__ __forceinline__ uint32_t Word(const RawRows& rows, int first, int unit, int w) {
    if constexpr (kPlane == 0) return NibbleWord<PackQ4_K, false>(rows, first, unit % 4, w);
    if constexpr (kPlane == 1) return ScalesWord(rows, first, w);
    return EndsWord(rows, first, w);
  }
};
struct PackQ5_K : PackSuper<176, 48> {
  static constexpr int kPlanes = 4;
  static constexpr PackPlane kPlane[] = {{32, 16}, {32, 4}, {8, 8}, {8, 2}};
  // Eight bytes have the bits of eight weights, at the block's place among eight.
  static __device__ __forceinline__ uint32_t Fifth(const RawRow& row, int b, int q) {
    const int at = b / 8 * kBytes + 16 + q * 8;
    return LowBits(row.Word<true>(at) >> b % 8) | LowBits(row.Word<true>(at + 4) >> b % 8) << 4;
  }
  template <int kPlane>
  static __device__ __forceinline__ uint32_t Word(const RawRows& rows, int first, int unit, int w) {
    if constexpr (kPlane == 0) return NibbleWord<PackQ5_K, false>(rows, first, unit % 4, w);
    if constexpr (kPlane == 1) return FifthWord<PackQ5_K>(rows, first, unit % 4, w);
    if constexpr (kPlane == 2) return ScalesWord(rows, first, w);
    return EndsWord(rows, first, w);
  }
};

// 128 bytes of lower halves, 64 of upper pairs, 16 scales, d.
struct PackQ6_K {
  static constexpr int kElements = 256, kBytes = 210, kGroupBlocks = 64;
  static constexpr int kBoundExponent = 15, kMost = 30;
  static constexpr int kPlanes = 4;
  static constexpr PackPlane kPlane[] = {{32, 16}, {32, 8}, {16, 4}, {8, 1}};
  static __device__ __forceinline__ int At(int b, int q) {
    return b / 8 * kBytes + b % 8 / 4 * 64 + b % 2 * 32 + q * 8;
  }
  static __device__ __forceinline__ int Shift(int b, int) { return b % 4 / 2 * 4; }

  template <int kPlane>
  static __device__ __forceinline__ uint32_t Word(const RawRows& rows, int first, int unit, int w) {
    if constexpr (kPlane == 0) return NibbleWord<PackQ6_K, false>(rows, first, unit % 4, w);
    if constexpr (kPlane == 1) {
      const int b = first + w, at = b / 8 * kBytes + 128 + b % 8 / 4 * 32 + unit % 4 * 8;
      const int shift = b % 4 * 2;
      return SpreadPairs(rows.Of(0).Word<false>(at) >> shift, 4, 8) |
             SpreadPairs(rows.Of(0).Word<false>(at + 4) >> shift, 6, 10) |
             SpreadPairs(rows.Of(1).Word<false>(at) >> shift, 0, 12) |
             SpreadPairs(rows.Of(1).Word<false>(at + 4) >> shift, 2, 14);
    }
    if constexpr (kPlane == 2) {  // of the half `unit % 2` of each block
      uint32_t word = 0;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int b = first + w * 2 + i / 2;
        word |= rows.Of(i % 2).Byte(b / 8 * kBytes + 192 + b % 8 * 2 + unit % 2) << (i * 8);
      }
      return word;
    }
    return BothHalves<PackQ6_K>(rows, first / 8 * kBytes + 208);
  }
  static __device__ __forceinline__ uint32_t Key(const RawRow& row, int i) {
    int largest = 1;
#pragma unroll
    for (int s = 0; s < 16; ++s) {
      const int scale = static_cast<int8_t>(row.Byte(i * kBytes + 192 + s));
      largest = max(largest, scale < 0 ? -scale : scale);
    }
    return KeyOf(FiniteSize(row.HalfValue(i * kBytes + 208)) * static_cast<float>(largest));
  }
};

}  // namespace renga::kernels
