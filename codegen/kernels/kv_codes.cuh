// Keys or values of one head at some positions in shared memory, as the codes that their cache
// holds: E4m3, Q8 or Q4. They become 16-bit operands in the registers of the warp that multiplies
// by them, exactly; the scales of Q8 and Q4 go to the sums of 32 products of a key, and to the
// weights of a value. What turns 32 numbers of Q4 turns those of q, and at the end of the output,
// instead. So a tile is copied to shared memory as it is, and a key costs its bytes and few
// instructions: for few rows, where each code is used once. KvTile does what many rows share once.
#pragma once

#include "codegen/kernels/kv_tile.cuh"

namespace renga::kernels {

// What holds so many scales.
template <int kScales>
struct WordsOf {
  using Type = uint32_t;
};
template <>
struct WordsOf<4> {
  using Type = uint2;
};

template <class Element>
inline constexpr bool kIsCoded = kIsQuantised<Element> || kIsSame<Element, E4m3>;

// Methods as KvTile's, by whole warps but for Load. kOfKeys: how they lie, so that their readers
// meet different banks.
template <class Element, int kKeys, int kHeadDim, bool kOfKeys>
class KvCodes {
  static_assert(kIsCoded<Element> && kHeadDim % 32 == 0, "whole blocks of 32");
  static constexpr bool kScaled = kIsQuantised<Element>;
  static constexpr bool kNibbles = kIsSame<Element, Q4>;
  static constexpr int kBlocks = kHeadDim / 32;
  static constexpr int kBlockWords = kNibbles ? 4 : 8;
  static constexpr int kRowWords = kBlocks * kBlockWords;
  // Blocks whose codes are made operands while those before are multiplied by: of larger heads one,
  // since their output takes half of a thread's registers.
  static constexpr int kBlocksAhead = kBlocks <= 4 ? kBlocks : 1;
  // Words from row to row. Lanes read two words (of Q4 one) of eight neighbouring keys each, or a
  // word of every other value: a pitch that is an odd multiple of 8 or 4 words keeps them apart.
  static constexpr int kUnit = kOfKeys && !kNibbles ? 8 : 4;
  static constexpr int kPitch = kRowWords + (kRowWords % (2 * kUnit) == 0 ? kUnit : 0);

 public:
  static constexpr int kHalves = 2 * kKeys * kPitch + (kScaled ? kKeys * kBlocks : 0);
  // Queries are f16: so are all codes, exactly.
  static constexpr bool kHalf = true;
  // Before WaitForPreviousKernel all that Load reads; behind it scales may come through L1.
  static constexpr bool kPastL1 = true;

  __device__ __forceinline__ explicit KvCodes(uint16_t* tile)
      : codes_(reinterpret_cast<uint32_t*>(tile)), scales_(tile + 2 * kKeys * kPitch) {}

  static __device__ __forceinline__ Half Round(float x) { return ToHalf(x); }
  __device__ __forceinline__ void ClearPadding() const {}

  // A lane has four numbers of a key in a row, where mma wants pairs eight apart.
  static __device__ __forceinline__ int PlaceOfQuery(int d) {
    const int i = d % 4, step = kNibbles ? d % 32 / 16 : d % 8 / 4;
    const int lane = kNibbles ? d % 16 / 4 : d % 32 / 8;
    return d / 32 * 32 + step * 16 + i / 2 * 8 + lane * 2 + i % 2;
  }

  // Numbers 2 * (32 n + lane) and the next of a row of queries, n < kPairs.
  template <int kPairs>
  static __device__ __forceinline__ void TurnQuery(float2 (&q)[kPairs]) {
    if constexpr (kNibbles) {
      const int lane = threadIdx.x % 32;
#pragma unroll
      for (int n = 0; n < kPairs; ++n) {
        float2 x = make_float2(q[n].x + q[n].y, q[n].x - q[n].y);
#pragma unroll
        for (int mask = 1; mask < 16; mask *= 2) {
          x.x = Turned(x.x, lane, mask);
          x.y = Turned(x.y, lane, mask);
        }
        q[n] = make_float2(x.x * kTurnScale, x.y * kTurnScale);
      }
    }
  }

  template <int kThreads, int kHeads, bool kEarly, typename CellOf, typename Addend>
  __device__ __forceinline__ void Load(const void* values, const Half* scales, int head, int first,
                                       int end, CellOf cell_of, const Addend&) const {
    constexpr int kAtOnce = 4, kChunks = kRowWords / 4;
    const int chunks = end * kChunks;
    for (int i = first * kChunks + threadIdx.x; i < chunks; i += kAtOnce * kThreads) {
      int cells[kAtOnce];
#pragma unroll
      for (int n = 0; n < kAtOnce; ++n) {
        const int chunk = i + n * kThreads;
        cells[n] = chunk < chunks ? cell_of(chunk / kChunks) : kLeaveAlone;
      }
#pragma unroll
      for (int n = 0; n < kAtOnce; ++n) {
        if (cells[n] == kLeaveAlone) continue;
        const int row = (i + n * kThreads) / kChunks, chunk = (i + n * kThreads) % kChunks;
        const bool there = cells[n] >= 0;
        const int64_t from =
            (static_cast<int64_t>(there ? cells[n] : 0) * kHeads + head) * kRowWords + 4 * chunk;
        CopyAsync16OrZero(codes_ + row * kPitch + 4 * chunk,
                          static_cast<const uint32_t*>(values) + from, there);
      }
    }
    if constexpr (kScaled) {
      for (int row = first + threadIdx.x; row < end; row += kThreads) {
        const int cell = cell_of(row);
        if (cell == kLeaveAlone) continue;
        LoadScales<kEarly>(scales_ + row * kBlocks,
                           scales + (static_cast<int64_t>(max(cell, 0)) * kHeads + head) * kBlocks,
                           cell >= 0);
      }
    }
  }

  template <int kCount>
  __device__ __forceinline__ void AddScores(const uint16_t* query, int low, int first_key,
                                            float (&scores)[kCount][4]) const {
    const int lane = threadIdx.x % 32;
#pragma unroll kBlocksAhead
    for (int b = 0; b < kBlocks; ++b) {
      uint32_t high_q[2][4], low_q[2][4];
#pragma unroll
      for (int step = 0; step < 2; ++step) {
        LoadMatrix4(high_q[step], query + b * 32 + step * 16);
        LoadMatrix4(low_q[step], query + low + b * 32 + step * 16);
      }
#pragma unroll
      for (int n = 0; n < kCount; ++n) {
        const int key = first_key + n * 8 + lane / 4;
        uint32_t codes[2];
        CodesOfKey(key, b, codes);
        float sums[4] = {0, 0, 0, 0};
#pragma unroll
        for (int step = 0; step < 2; ++step) {
          Half2 first, second;
          ToHalves(codes[step], first, second);
          const uint32_t k[2] = {first.bits, second.bits};
          MmaF16(sums, high_q[step], k);
          MmaF16(sums, low_q[step], k);
        }
        const int column = first_key + n * 8 + lane % 4 * 2;
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          scores[n][i] += kScaled ? sums[i] * ScaleOf(column + i % 2, b) : sums[i];
        }
      }
    }
  }

  template <int kCount>
  __device__ __forceinline__ void AddWeighted(int first_key, const float (&weights)[kCount][4],
                                              float (&output)[kHeadDim / 8][4]) const {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int n = 0; n < kCount; n += 2) {
      const int key = first_key + n * 8 + lane % 4 * 2;
      // Keys key, + 1, + 8, + 9: two pairs of operands for each of this lane's rows.
#pragma unroll
      for (int b = 0; b < kBlocks; ++b) {
        if constexpr (kBlocksAhead < kBlocks) SyncWarp();  // no codes come before they are wanted
        uint32_t codes[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) codes[i] = CodesOfValue(key + i / 2 * 8 + i % 2, b);
        uint32_t high[4], low[4];
        Weigh(weights[n], weights[n + 1], key, b, high, low);
#pragma unroll
        for (int d = 0; d < 4; ++d) {
          const uint32_t v[2] = {PairOf(codes[0], codes[1], d), PairOf(codes[2], codes[3], d)};
          if constexpr (kScaled) {
            MmaBf16(output[b * 4 + d], high, v);
            MmaBf16(output[b * 4 + d], low, v);
          } else {
            MmaF16(output[b * 4 + d], high, v);
          }
        }
      }
    }
  }

  // Column c of output[4 b + d] is number 32 b + 4 c + d of a row.
  static __device__ __forceinline__ void StoreRow(const float (&output)[kHeadDim / 8][4], int r,
                                                  float factor, float* to) {
    const int lane = threadIdx.x % 4;
#pragma unroll
    for (int b = 0; b < kBlocks; ++b) {
      float x[8];  // numbers 8 * lane and so on of the block
#pragma unroll
      for (int i = 0; i < 8; ++i) x[i] = output[b * 4 + i % 4][2 * r + i / 4] * factor;
      if constexpr (kNibbles) TurnOutput(x);
#pragma unroll
      for (int i = 0; i < 8; i += 4) {
        *reinterpret_cast<float4*>(to + b * 32 + lane * 8 + i) =
            make_float4(x[i], x[i + 1], x[i + 2], x[i + 3]);
      }
    }
  }

 private:
  // A number's sum with, or difference to, the one of another lane: a step of the turn.
  static __device__ __forceinline__ float Turned(float x, int lane, int mask,
                                                 uint32_t lanes = kAllLanes) {
    const float other = ShuffleXor(x, mask, lanes);
    return (lane & mask) == 0 ? x + other : other - x;
  }

  static __device__ __forceinline__ void TurnOutput(float (&x)[8]) {
    const int lane = threadIdx.x % 32;
    const uint32_t lanes = 0xfu << lane / 4 * 4;  // who has this row; others may have none
#pragma unroll
    for (int step = 1; step < 8; step *= 2) {
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        if ((i & step) != 0) continue;
        const float a = x[i], b = x[i + step];
        x[i] = a + b;
        x[i + step] = a - b;
      }
    }
#pragma unroll
    for (int i = 0; i < 8; ++i) {
#pragma unroll
      for (int mask = 1; mask < 4; mask *= 2) x[i] = Turned(x[i], lane, mask, lanes);
      x[i] *= kTurnScale;
    }
  }

  // A row's scales, four, two or one at a time.
  template <bool kEarly>
  static __device__ __forceinline__ void LoadScales(uint16_t* to, const Half* from, bool there) {
    constexpr int kAtOnce = kBlocks % 4 == 0 ? 4 : kBlocks % 2 == 0 ? 2 : 1;
#pragma unroll
    for (int b = 0; b < kBlocks; b += kAtOnce) {
      if constexpr (kAtOnce == 1) {
        to[b] = there ? LoadFromL2(from + b).bits : uint16_t{0};
      } else if constexpr (kEarly) {
        using Words = typename WordsOf<kAtOnce>::Type;
        *reinterpret_cast<Words*>(to + b) =
            there ? LoadFromL2(reinterpret_cast<const Words*>(from + b)) : Words{};
      } else if (!there) {
        *reinterpret_cast<typename WordsOf<kAtOnce>::Type*>(to + b) = {};
      } else if constexpr (kAtOnce == 4) {
        CopyAsync8(to + b, from + b);
      } else {
        CopyAsync4(to + b, from + b);
      }
    }
  }

  __device__ __forceinline__ float ScaleOf(int key, int block) const {
    return ToFloat(Half{scales_[key * kBlocks + block]});
  }

  // This lane's of a block of a key, four for each of two steps.
  __device__ __forceinline__ void CodesOfKey(int key, int block, uint32_t (&codes)[2]) const {
    const int lane = threadIdx.x % 4;
    const uint32_t* from = codes_ + key * kPitch + block * kBlockWords;
    if constexpr (kNibbles) {
      const uint32_t word = from[lane];
      codes[0] = word & 0x0f0f0f0fu;
      codes[1] = word >> 4 & 0x0f0f0f0fu;
    } else {
      const uint2 words = *reinterpret_cast<const uint2*>(from + 2 * lane);
      codes[0] = words.x, codes[1] = words.y;
    }
  }
  // Numbers 4 * (lane / 4) and so on of a block of a value.
  __device__ __forceinline__ uint32_t CodesOfValue(int key, int block) const {
    const int at = threadIdx.x % 32 / 4;
    const uint32_t* from = codes_ + key * kPitch + block * kBlockWords;
    if constexpr (kNibbles) {
      return from[at % 4] >> at / 4 * 4 & 0x0f0f0f0fu;
    } else {
      return from[at];
    }
  }

  // What is added to a code of Q8 or Q4 so that it is not below 0.
  static constexpr uint32_t kMiddle = kNibbles ? 8 : 128;
  static __device__ __forceinline__ uint32_t FromZero(uint32_t codes) {
    return kNibbles ? codes : codes ^ 0x80808080u;
  }

  // Four codes as f16.
  static __device__ __forceinline__ void ToHalves(uint32_t codes, Half2& first, Half2& second) {
    if constexpr (kScaled) {
      constexpr uint32_t k1024 = 0x64646464;  // upper bytes of 1024 + code
      constexpr uint32_t kLess = 0x6400u + kMiddle;
      const Half2 less = {kLess | kLess << 16};
      const uint32_t from_zero = FromZero(codes);
      first = Sub(Half2{BytePermute(from_zero, k1024, 0x4140)}, less);
      second = Sub(Half2{BytePermute(from_zero, k1024, 0x4342)}, less);
    } else {
      ToHalfPairs(codes, first, second);
    }
  }

  // Number `d` of two values, as f16 of E4m3, else as bf16, which a code of 8 bits fits.
  static __device__ __forceinline__ uint32_t PairOf(uint32_t one, uint32_t other, int d) {
    if constexpr (kScaled) {
      constexpr uint32_t k2To23 = 0x4b000000;  // whose last digit is 1
      const float less = 8388608.0f + static_cast<float>(kMiddle);
      const float a = FloatOfBits(BytePermute(FromZero(one), k2To23, 0x7650u | d)) - less;
      const float b = FloatOfBits(BytePermute(FromZero(other), k2To23, 0x7650u | d)) - less;
      return BytePermute(BitsOf(a), BitsOf(b), 0x7632);
    } else {
      Half2 even, odd;
      ToHalfPairs(BytePermute(one, other, d < 2 ? 0x5140 : 0x7362), even, odd);
      return d % 2 == 0 ? even.bits : odd.bits;
    }
  }

  // Weights of keys key, + 1 (`first`), + 8 and + 9 (`second`), with the block's scales, as mma has
  // them: f16 of E4m3, else two bf16, which scales of any size leave their digits.
  __device__ __forceinline__ void Weigh(const float (&first)[4], const float (&second)[4], int key,
                                        int block, uint32_t (&high)[4], uint32_t (&low)[4]) const {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float(&pair)[4] = i < 2 ? first : second;
      const float a = pair[i % 2 * 2], b = pair[i % 2 * 2 + 1];
      if constexpr (kScaled) {
        const int at = key + i / 2 * 8;
        SplitBfloat16(a * ScaleOf(at, block), b * ScaleOf(at + 1, block), high[i], low[i]);
      } else {
        high[i] = ToHalf2(a, b).bits;
      }
    }
  }

  uint32_t* codes_;   // [kKeys, kPitch]
  uint16_t* scales_;  // [kKeys, kBlocks]
};

// The tile for blocks with so many warps of rows: codes where there is one, so that no two warps
// make operands of the same codes. Not where something is added to keys on their way (kAdded).
template <class Element, int kKeys, int kHeadDim, int kRowWarps, bool kOfKeys, bool kAdded,
          bool kCodes = kRowWarps == 1 && kHeadDim % 32 == 0 && kIsCoded<Element> && !kAdded>
struct KvTileChoice {
  using Type = KvTile<Element, kKeys, kHeadDim, kAdded>;
};
template <class Element, int kKeys, int kHeadDim, int kRowWarps, bool kOfKeys, bool kAdded>
struct KvTileChoice<Element, kKeys, kHeadDim, kRowWarps, kOfKeys, kAdded, true> {
  using Type = KvCodes<Element, kKeys, kHeadDim, kOfKeys>;
};
template <class Element, int kKeys, int kHeadDim, int kRowWarps, bool kOfKeys, bool kAdded>
using KvTileOf = typename KvTileChoice<Element, kKeys, kHeadDim, kRowWarps, kOfKeys, kAdded>::Type;

}  // namespace renga::kernels
