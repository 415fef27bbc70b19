// Caches of keys and values: [cells, kv_heads, head_dim] of Half, Bfloat16, float or E4m3, or one
// of two quantised kinds, with a scale in f16 for each 32 numbers beside them, [cells, kv_heads,
// head_dim / 32]. Q8: a signed byte a number. Q4: 16 bytes for 32 numbers, number i and number i +
// 16 in the halves of byte i, of what the turn of cache_rounding.h (ir/core) makes of the 32.
#pragma once

#include "codegen/kernels/numbers.cuh"

namespace renga::kernels {

// Names of the quantised kinds in a Config.
struct Q8 {};
struct Q4 {};

template <class Element>
inline constexpr bool kIsQuantised = kIsSame<Element, Q8> || kIsSame<Element, Q4>;

// A number of f8_e4m3 (ir/base/dtype.h): a sign, 4 bits of exponent with bias 7 and 3 of mantissa.
struct E4m3 {
  uint8_t bits;
};

template <class Element>
struct Cache {
  Element* values;
  Half* scales;  // of quantised kinds alone
};

__device__ __forceinline__ void ConvertTo(float x, Half& to) { to = ToHalf(x); }
__device__ __forceinline__ void ConvertTo(float x, Bfloat16& to) { to = ToBfloat16(x); }
__device__ __forceinline__ void ConvertTo(float x, float& to) { to = x; }

// To nearest, ties to even, and to 448 beyond that, infinity too; NaN stays NaN, signs stay.
__device__ __forceinline__ void ConvertTo(float x, E4m3& to) {
  constexpr uint32_t kInfinity = 0x7f800000, kMost = 0x43e00000, kLeastNormal = 0x3c800000;  // 2^-6
  const uint32_t bits = BitsOf(x), size = bits & 0x7fffffffu;
  uint32_t code;
  if (size < kLeastNormal) {
    code = BitsOf(FloatOfBits(size) + 16384.0f) - BitsOf(16384.0f);  // whose last digit is 2^-9
  } else {
    // Less 120 of the exponent, and the 20 last of 23 digits rounded off.
    code = (size - 0x3c000000 + 0x7ffff + (size >> 20 & 1)) >> 20;
  }
  if (size >= kMost) code = size > kInfinity ? 0x7f : 0x7e;
  to = E4m3{static_cast<uint8_t>(code | (bits >> 24 & 0x80))};
}

// The same bits in the places of f16 are 2^-8 of the number, exactly, subnormals too. NaN has a
// place of its own there, above 448.
__device__ __forceinline__ float ToFloat(E4m3 x) {
  const uint32_t size = x.bits & 0x7fu;
  if (size == 0x7f) return FloatOfBits(0x7fc00000);
  return ToFloat(Half{static_cast<uint16_t>((x.bits & 0x80u) << 8 | size << 7)}) * 256.0f;
}

// Four of them, at increasing addresses from the lowest byte on, as f16.
__device__ __forceinline__ void ToHalfPairs(uint32_t four, Half2& first, Half2& second) {
  constexpr uint32_t kFirst = 0x1404, kSecond = 0x3424;  // the upper bytes of two f16
  const auto place = [](uint32_t bytes) {
    const Half2 small = {(bytes & 0x80008000u) | (bytes & 0x7f007f00u) >> 1};
    return Mul(small, Half2{0x5c005c00});  // 256
  };
  first = place(BytePermute(four, 0, kFirst));
  second = place(BytePermute(four, 0, kSecond));
  const uint32_t nans = ((four & 0x7f7f7f7fu) + 0x01010101u) & 0x80808080u;
  if (nans == 0) return;
  first.bits |= (BytePermute(nans, 0, kFirst) >> 15) * 0x7c00u;  // 480 has more bits than those
  second.bits |= (BytePermute(nans, 0, kSecond) >> 15) * 0x7c00u;
}

// The symmetric Hadamard matrix over sqrt(32), by which 32 numbers are turned and turned back.
inline constexpr float kTurnScale = 0.17677669529663687f;  // 1 / sqrt(32)

// Of a number a lane.
__device__ __forceinline__ float TurnOfWarp(float x) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int mask = 1; mask < 32; mask *= 2) {
    const float other = ShuffleXor(x, mask);
    x = (lane & mask) == 0 ? x + other : other - x;
  }
  return x * kTurnScale;
}

// Of 32 numbers of a lane, which are sums of whole numbers: without kTurnScale.
__device__ __forceinline__ void TurnOfLane(float (&x)[32]) {
#pragma unroll
  for (int step = 1; step < 32; step *= 2) {
#pragma unroll
    for (int i = 0; i < 32; ++i) {
      if ((i & step) != 0) continue;
      const float a = x[i], b = x[i + step];
      x[i] = a + b;
      x[i + step] = a - b;
    }
  }
}

// A block of 32, a number a lane. One with a number that is not finite becomes NaN.
__device__ __forceinline__ void StoreBlock(Q4, uint8_t* bytes, Half* scale, float x) {
  const int lane = threadIdx.x % 32;
  const float y = TurnOfWarp(x), size = fabsf(y);
  const bool finite = AllLanes(size < Infinity());
  const uint32_t largest = Ballot(size == WarpMax(size));
  const float step = Shuffle(y, finite ? LowestSetBit(largest) : 0) * -0.125f;
  // Within -8..8 from the middle, 8: cutting off is rounding.
  const int quant = finite && step != 0 ? min(static_cast<int>(y / step + 8.5f), 15) : 8;
  const int upper = ShuffleXor(quant, 16);
  if (lane < 16) bytes[lane] = static_cast<uint8_t>(quant | upper << 4);
  if (lane == 0) *scale = finite ? ToHalf(step) : Half{0x7fff};
}

__device__ __forceinline__ void StoreBlock(Q8, uint8_t* bytes, Half* scale, float x) {
  const int lane = threadIdx.x % 32;
  const float step = min(WarpMax(fabsf(x)) * (1.0f / 127), kHalfMax);
  const float inverse = step > 0 ? 1.0f / step : 0.0f;
  bytes[lane] = static_cast<uint8_t>(max(-127, min(127, RoundToInt(x * inverse))));
  if (lane == 0) *scale = ToHalf(step);
}

// Bytes of 32 numbers.
template <class Element>
inline constexpr int kBlockBytes = kIsSame<Element, Q4> ? 16 : 32;

// Stores a head's values, which all lanes of the warp can read. Cells below 0 are not written.
template <class Element, int kHeads, int kHeadDim>
__device__ __forceinline__ void StoreHead(void* values, Half* scales, int cell, int head,
                                          const float* from) {
  if (cell < 0) return;
  const int lane = threadIdx.x % 32;
  const int64_t row = static_cast<int64_t>(cell) * kHeads + head;
  if constexpr (kIsQuantised<Element>) {
    static_assert(kHeadDim % 32 == 0, "a quantised cache wants heads of whole blocks of 32");
    for (int b = 0; b < kHeadDim / 32; ++b) {
      const int64_t block = row * (kHeadDim / 32) + b;
      StoreBlock(Element(), static_cast<uint8_t*>(values) + block * kBlockBytes<Element>,
                 scales + block, from[b * 32 + lane]);
    }
  } else {
    Element* to = static_cast<Element*>(values) + row * kHeadDim;
    for (int d = lane; d < kHeadDim; d += 32) ConvertTo(from[d], to[d]);
  }
}

// One value, by its place among all.
template <class Element>
__device__ __forceinline__ float LoadElement(const void* values, const Half* scales, int64_t at) {
  if constexpr (kIsSame<Element, Q8>) {
    return static_cast<const int8_t*>(values)[at] * ToFloat(scales[at / 32]);
  } else if constexpr (kIsSame<Element, Q4>) {
    const uint8_t* block = static_cast<const uint8_t*>(values) + at / 32 * kBlockBytes<Q4>;
    const int i = static_cast<int>(at % 32);
    int sum = 0;
    for (int j = 0; j < 32; ++j) {
      const int quant = (j < 16 ? block[j] & 15 : block[j - 16] >> 4) - 8;
      sum += PopCount(i & j) % 2 == 0 ? quant : -quant;
    }
    return static_cast<float>(sum) * (ToFloat(scales[at / 32]) * kTurnScale);
  } else if constexpr (kIsSame<Element, float>) {
    return static_cast<const float*>(values)[at];
  } else {
    return ToFloat(static_cast<const Element*>(values)[at]);
  }
}

}  // namespace renga::kernels
