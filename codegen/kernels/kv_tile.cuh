// Keys or values of one head at some positions in shared memory, as 16-bit operands of a product,
// from caches of all kinds.
#pragma once

#include "codegen/kernels/kv_cache.cuh"

namespace renga::kernels {

// Two numbers as pairs of bf16: what their upper 8 digits are, and the next 8.
__device__ __forceinline__ void SplitBfloat16(float first, float second, uint32_t& high,
                                              uint32_t& low) {
  high = ToBfloat16Pair(first, second);
  low = ToBfloat16Pair(first - FloatOfBits(high << 16), second - FloatOfBits(high & 0xffff0000u));
}

// What a function of keys gives Load in place of a cell: nothing is to be done, another call loads
// it. Any other number below 0: nothing is there, zeros.
inline constexpr int kLeaveAlone = -2;

// For Load.
struct AddNothing {
  template <int kCount>
  __device__ __forceinline__ void Add(int, int, float (&)[kCount]) const {}
};

// kParts numbers of 16 bits whose sum is a value: f16 (one) for a cache in f16 or E4m3, bf16 (one)
// for bf16, two bf16 for f32, Q8 and Q4. So nothing overflows, whatever the cache holds. What is
// added to on its way (kAdded) has more digits than its cache: then also f16 and bf16 are two, and
// in f16 the sum has to fit it, as it would in the cache. Of E4m3 the sum is two bf16.
template <class Element, int kKeys, int kHeadDim, bool kAdded = false>
class KvTile {
 public:
  // Becomes f16 on its way.
  static constexpr bool kWidened = !kAdded && kIsSame<Element, E4m3>;
  static constexpr bool kHalf = kIsSame<Element, Half> || kWidened;
  static constexpr bool kCopied = !kAdded && (kIsSame<Element, Half> || kIsSame<Element, Bfloat16>);
  static constexpr int kParts = kCopied || kWidened ? 1 : 2;
  static constexpr int kPaddedDim = (kHeadDim + 15) / 16 * 16;
  // An odd multiple of 16 bytes: the rows of an 8 x 8 matrix lie in different banks.
  static constexpr int kPitch = kPaddedDim + 8;
  static constexpr int kPart = kKeys * kPitch;  // from part to part
  static constexpr int kHalves = kParts * kPart;

  // Whether Load goes past L1 for all that it reads. Where it does not, cells that a kernel before
  // is still writing may get into L1 with others beside them, and stay there as they were.
  static constexpr bool kPastL1 = !kCopied || kHeadDim % 8 == 0;

  // `tile` is shared memory: kHalves of 16 bits, at a multiple of 16 bytes.
  __device__ __forceinline__ explicit KvTile(uint16_t* tile) : tile_(tile) {}

  // Where a row of queries has number d.
  static __device__ __forceinline__ int PlaceOfQuery(int d) { return d; }
  template <int kPairs>
  static __device__ __forceinline__ void TurnQuery(float2 (&)[kPairs]) {}
  static __device__ __forceinline__ auto Round(float x) {
    if constexpr (kHalf) {
      return ToHalf(x);
    } else {
      return ToBfloat16(x);
    }
  }
  // Zeros from kHeadDim to kPaddedDim, which Load leaves alone.
  __device__ __forceinline__ void ClearPadding() const {
    constexpr int kRest = kPaddedDim - kHeadDim;
    if constexpr (kRest > 0) {
      for (int i = threadIdx.x; i < kParts * kKeys * kRest; i += blockDim.x) {
        tile_[i / kRest * kPitch + kHeadDim + i % kRest] = 0;
      }
    }
  }

  // Rows from `first` to `end`, row i from cell cell_of(i). By all threads; some of it
  // asynchronously, so commit and wait. What a thread reads is under way together: first the cells
  // of some pieces, then the pieces. Where nothing is copied or widened, addend.Add(i, d, x) may
  // change the numbers d, d + 1, ... of row i, an array of float, on their way. kEarly: before
  // WaitForPreviousKernel.
  template <int kThreads, int kHeads, bool kEarly, typename CellOf, typename Addend>
  __device__ __forceinline__ void Load(const void* values, const Half* scales, int head, int first,
                                       int end, CellOf cell_of, const Addend& addend) const {
    // Of larger heads the output has the registers.
    constexpr int kAtOnce = kBlocks || (!kCopied && kHeadDim > 128) ? 1 : 4;
    const int chunks = end * kChunks;
    for (int i = first * kChunks + threadIdx.x; i < chunks; i += kAtOnce * kThreads) {
      int cells[kAtOnce];
#pragma unroll
      for (int n = 0; n < kAtOnce; ++n) {
        const int chunk = i + n * kThreads;
        cells[n] = chunk < chunks ? cell_of(chunk / kChunks) : kLeaveAlone;
      }
      [[maybe_unused]] float in[kCopied || kWidened ? 1 : kAtOnce][kChunk];
      [[maybe_unused]] uint32_t codes[kWidened ? kAtOnce : 1][(kChunk + 3) / 4];
#pragma unroll
      for (int n = 0; n < kAtOnce; ++n) {
        if (cells[n] == kLeaveAlone) continue;
        const int d = (i + n * kThreads) % kChunks * kChunk;
        const int64_t from = (static_cast<int64_t>(cells[n]) * kHeads + head) * kHeadDim + d;
        if constexpr (kCopied) {
          const bool there = cells[n] >= 0;
          CopyOrClear(PlaceOf(i + n * kThreads),
                      static_cast<const uint16_t*>(values) + (there ? from : 0), there);
        } else if constexpr (kWidened) {
#pragma unroll
          for (int c = 0; c < (kChunk + 3) / 4; ++c) codes[n][c] = 0;
          if (cells[n] >= 0) LoadCodes(static_cast<const uint8_t*>(values) + from, codes[n]);
        } else if (cells[n] < 0) {
#pragma unroll
          for (int c = 0; c < kChunk; ++c) in[n][c] = 0;
        } else {
          LoadChunk(values, scales, from, in[n]);
          addend.Add((i + n * kThreads) / kChunks, d, in[n]);
        }
      }
      if constexpr (!kCopied) {
#pragma unroll
        for (int n = 0; n < kAtOnce; ++n) {
          if (cells[n] == kLeaveAlone) continue;
          if constexpr (kWidened) {
            StoreWidened(PlaceOf(i + n * kThreads), codes[n]);
          } else {
            StoreChunk(PlaceOf(i + n * kThreads), in[n]);
          }
        }
      }
    }
  }

  // scores += q k of 8 * kCount keys from `first_key` on, by one warp: rows and columns as mma has
  // them. `query` is this lane's of LoadMatrix4, with the lesser parts `low` further on.
  template <int kCount>
  __device__ __forceinline__ void AddScores(const uint16_t* query, int low, int first_key,
                                            float (&scores)[kCount][4]) const {
    const int matrix = threadIdx.x % 32 / 8, row = threadIdx.x % 8;
    const uint16_t* key = At(first_key + matrix / 2 * 8 + row, matrix % 2 * 8);
#pragma unroll
    for (int d = 0; d < kPaddedDim; d += 16) {
      uint32_t high_q[4], low_q[4];
      LoadMatrix4(high_q, query + d);
      LoadMatrix4(low_q, query + low + d);
#pragma unroll
      for (int n = 0; n < kCount; n += 2) {
#pragma unroll
        for (int part = 0; part < kParts; ++part) {
          uint32_t b[4];
          LoadMatrix4(b, key + part * kPart + n * 8 * kPitch + d);
          const uint32_t even[2] = {b[0], b[1]}, odd[2] = {b[2], b[3]};
          Mma(scores[n], high_q, even);
          Mma(scores[n + 1], high_q, odd);
          if (part > 0) continue;  // the product of the lesser parts is below f32's last digit
          Mma(scores[n], low_q, even);
          Mma(scores[n + 1], low_q, odd);
        }
      }
    }
  }

  // output += weights v, likewise: weights at most 1, as scores are; output[n] is columns 8 n and
  // so on.
  template <int kCount>
  __device__ __forceinline__ void AddWeighted(int first_key, const float (&weights)[kCount][4],
                                              float (&output)[kPaddedDim / 8][4]) const {
    const int matrix = threadIdx.x % 32 / 8, row = threadIdx.x % 8;
#pragma unroll
    for (int n = 0; n < kCount; n += 2) {
      uint32_t high[4], low[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float first = weights[n + i / 2][i % 2 * 2],
                    second = weights[n + i / 2][i % 2 * 2 + 1];
        if constexpr (kHalf) {
          high[i] = ToHalf2(first, second).bits;
        } else {
          SplitBfloat16(first, second, high[i], low[i]);
        }
      }
      const uint16_t* value = At(first_key + n * 8 + matrix % 2 * 8 + row, matrix / 2 * 8);
#pragma unroll
      for (int d = 0; d < kPaddedDim / 8; d += 2) {
#pragma unroll
        for (int part = 0; part < kParts; ++part) {
          uint32_t b[4];
          LoadMatrix4Transposed(b, value + part * kPart + d * 8);
          const uint32_t even[2] = {b[0], b[1]}, odd[2] = {b[2], b[3]};
          Mma(output[d], high, even);
          Mma(output[d + 1], high, odd);
          if (kHalf || part > 0) continue;  // a weight in f16 is one number
          Mma(output[d], low, even);
          Mma(output[d + 1], low, odd);
        }
      }
    }
  }

  // What the output has of this lane's row `r` (0, 1), times a factor, to that row.
  static __device__ __forceinline__ void StoreRow(const float (&output)[kPaddedDim / 8][4], int r,
                                                  float factor, float* to) {
    const int column = threadIdx.x % 4 * 2;
#pragma unroll
    for (int n = 0; n < kPaddedDim / 8; ++n) {
      if (n * 8 + column >= kHeadDim) continue;
      *reinterpret_cast<float2*>(to + n * 8 + column) =
          make_float2(output[n][2 * r] * factor, output[n][2 * r + 1] * factor);
    }
  }

 private:
  __device__ __forceinline__ const uint16_t* At(int key, int d) const {
    return tile_ + key * kPitch + d;
  }

  static __device__ __forceinline__ void Mma(float (&c)[4], const uint32_t (&a)[4],
                                             const uint32_t (&b)[2]) {
    if constexpr (kHalf) {
      MmaF16(c, a, b);
    } else {
      MmaBf16(c, a, b);
    }
  }

  // Elements that a thread moves at once: what becomes 16 bytes of f16 or bf16, or less, four of
  // others, and a block of those that are turned as one.
  static constexpr bool kBlocks = kIsSame<Element, Q4>;
  static constexpr bool k16Bits = kIsSame<Element, Half> || kIsSame<Element, Bfloat16>;
  static constexpr bool k8Bits = kIsSame<Element, E4m3>;
  static constexpr int kMost = kBlocks ? 32 : k16Bits || k8Bits ? 8 : 4;
  static constexpr int kChunk = kHeadDim % kMost == 0 ? kMost : kHeadDim % 4 == 0 ? 4 : 2;
  static constexpr int kChunks = kHeadDim / kChunk;  // of a row

  __device__ __forceinline__ uint16_t* PlaceOf(int chunk) const {
    return tile_ + chunk / kChunks * kPitch + chunk % kChunks * kChunk;
  }

  static __device__ __forceinline__ void CopyOrClear(uint16_t* to, const uint16_t* from,
                                                     bool there) {
    if constexpr (kChunk == 8) {
      CopyAsync16OrZero(to, from, there);
    } else if constexpr (kChunk == 4) {
      if (there) {
        CopyAsync8(to, from);
      } else {
        *reinterpret_cast<uint2*>(to) = make_uint2(0, 0);
      }
    } else {
      if (there) {
        CopyAsync4(to, from);
      } else {
        *reinterpret_cast<uint32_t*>(to) = 0;
      }
    }
  }

  // Two values as the words of both parts.
  static __device__ __forceinline__ void SplitPair(float first, float second, uint32_t& high,
                                                   uint32_t& low) {
    if constexpr (kHalf) {
      const Half high_first = ToHalf(first), high_second = ToHalf(second);
      high = high_first.bits | static_cast<uint32_t>(high_second.bits) << 16;
      low = ToHalf2(first - ToFloat(high_first), second - ToFloat(high_second)).bits;
    } else {
      SplitBfloat16(first, second, high, low);
    }
  }

  static __device__ __forceinline__ void StoreChunk(uint16_t* to, const float (&in)[kChunk]) {
    if constexpr (kChunk % 8 == 0) {
#pragma unroll
      for (int c = 0; c < kChunk; c += 8) {
        uint4 high, low;
        SplitPair(in[c], in[c + 1], high.x, low.x);
        SplitPair(in[c + 2], in[c + 3], high.y, low.y);
        SplitPair(in[c + 4], in[c + 5], high.z, low.z);
        SplitPair(in[c + 6], in[c + 7], high.w, low.w);
        *reinterpret_cast<uint4*>(to + c) = high;
        *reinterpret_cast<uint4*>(to + c + kPart) = low;
      }
      return;
    }
#pragma unroll
    for (int c = 0; c < kChunk; c += 2) {
      uint32_t high, low;
      SplitPair(in[c], in[c + 1], high, low);
      *reinterpret_cast<uint32_t*>(to + c) = high;
      *reinterpret_cast<uint32_t*>(to + c + kPart) = low;
    }
  }

  // kChunk of E4m3, four a word.
  static __device__ __forceinline__ void LoadCodes(const uint8_t* from,
                                                   uint32_t (&codes)[(kChunk + 3) / 4]) {
    if constexpr (kChunk == 8) {
      const uint2 v = LoadFromL2(reinterpret_cast<const uint2*>(from));
      codes[0] = v.x, codes[1] = v.y;
    } else if constexpr (kChunk == 4) {
      codes[0] = LoadFromL2(reinterpret_cast<const uint32_t*>(from));
    } else {
      codes[0] = LoadFromL2(reinterpret_cast<const Half*>(from)).bits;
    }
  }

  static __device__ __forceinline__ void StoreWidened(uint16_t* to,
                                                      const uint32_t (&codes)[(kChunk + 3) / 4]) {
    Half2 pairs[(kChunk + 3) / 4][2];
#pragma unroll
    for (int c = 0; c < (kChunk + 3) / 4; ++c) ToHalfPairs(codes[c], pairs[c][0], pairs[c][1]);
    if constexpr (kChunk == 8) {
      *reinterpret_cast<uint4*>(to) =
          make_uint4(pairs[0][0].bits, pairs[0][1].bits, pairs[1][0].bits, pairs[1][1].bits);
    } else if constexpr (kChunk == 4) {
      *reinterpret_cast<uint2*>(to) = make_uint2(pairs[0][0].bits, pairs[0][1].bits);
    } else {
      *reinterpret_cast<uint32_t*>(to) = pairs[0][0].bits;
    }
  }

  static __device__ __forceinline__ void Load16Bits(const uint16_t* from, float (&in)[kChunk]) {
    uint32_t words[kChunk / 2];
    if constexpr (kChunk == 8) {
      const uint4 v = LoadFromL2(reinterpret_cast<const uint4*>(from));
      words[0] = v.x, words[1] = v.y, words[2] = v.z, words[3] = v.w;
    } else {
#pragma unroll
      for (int i = 0; i < kChunk / 2; ++i) {
        words[i] = LoadFromL2(reinterpret_cast<const uint32_t*>(from) + i);
      }
    }
#pragma unroll
    for (int c = 0; c < kChunk; ++c) {
      in[c] = ToFloat(Element{static_cast<uint16_t>(words[c / 2] >> c % 2 * 16)});
    }
  }

  static __device__ __forceinline__ void LoadChunk(const void* values, const Half* scales,
                                                   int64_t from, float (&in)[kChunk]) {
    if constexpr (k16Bits) {
      Load16Bits(static_cast<const uint16_t*>(values) + from, in);
    } else if constexpr (k8Bits) {
      uint32_t codes[(kChunk + 3) / 4];
      LoadCodes(static_cast<const uint8_t*>(values) + from, codes);
#pragma unroll
      for (int c = 0; c < kChunk; ++c) {
        in[c] = ToFloat(E4m3{static_cast<uint8_t>(codes[c / 4] >> c % 4 * 8)});
      }
    } else if constexpr (kIsSame<Element, Q8>) {
      static_assert(kHeadDim % 32 == 0, "a quantised cache wants heads of whole blocks of 32");
      const uint32_t quants =
          LoadFromL2(reinterpret_cast<const uint32_t*>(static_cast<const int8_t*>(values) + from));
      const float scale = ToFloat(LoadFromL2(scales + from / 32));
#pragma unroll
      for (int c = 0; c < kChunk; ++c) {
        in[c] = static_cast<float>(static_cast<int8_t>(quants >> 8 * c)) * scale;
      }
    } else if constexpr (kBlocks) {
      static_assert(kHeadDim % 32 == 0, "a quantised cache wants heads of whole blocks of 32");
      const uint4 quants = LoadFromL2(reinterpret_cast<const uint4*>(
          static_cast<const uint8_t*>(values) + from / 32 * kBlockBytes<Q4>));
      const float scale = ToFloat(LoadFromL2(scales + from / 32)) * kTurnScale;
      const uint32_t words[4] = {quants.x, quants.y, quants.z, quants.w};
#pragma unroll
      for (int c = 0; c < kChunk; ++c) {
        const uint32_t quant = words[c % 16 / 4] >> (c % 4 * 8 + c / 16 * 4) & 15;
        in[c] = FloatOfBits(0x4b000000u | quant) - 8388616.0f;  // 2^23 + quant, less 2^23 + 8
      }
      TurnOfLane(in);
#pragma unroll
      for (int c = 0; c < kChunk; ++c) in[c] *= scale;
    } else if constexpr (kChunk == 4) {
      const float4 four =
          LoadFromL2(reinterpret_cast<const float4*>(static_cast<const float*>(values) + from));
      in[0] = four.x, in[1] = four.y, in[2] = four.z, in[3] = four.w;
    } else {
      const float2 two =
          LoadFromL2(reinterpret_cast<const float2*>(static_cast<const float*>(values) + from));
      in[0] = two.x, in[1] = two.y;
    }
  }

  uint16_t* tile_;  // [kParts, kKeys, kPitch]
};

}  // namespace renga::kernels
