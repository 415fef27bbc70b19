// Caches of keys and values: [cells, kv_heads, head_dim] of Half, Bfloat16 or float, or Q8: bytes
// of that shape and beside them a scale in f16 for each 32, [cells, kv_heads, head_dim / 32].
#pragma once

#include "codegen/kernels/numbers.cuh"

namespace renga::kernels {

struct Q8 {};  // names the quantised kind of cache in a Config

template <class Element>
struct Cache {
  Element* values;
  Half* scales;  // of Q8 alone
};

__device__ __forceinline__ void ConvertTo(float x, Half& to) { to = ToHalf(x); }
__device__ __forceinline__ void ConvertTo(float x, Bfloat16& to) { to = ToBfloat16(x); }
__device__ __forceinline__ void ConvertTo(float x, float& to) { to = x; }

// Stores a head's values, which all lanes of the warp can read. Cells below 0 are not written.
template <class Element, int kHeads, int kHeadDim>
__device__ __forceinline__ void StoreHead(void* values, Half* scales, int cell, int head,
                                          const float* from) {
  if (cell < 0) return;
  const int lane = threadIdx.x % 32;
  const int64_t row = static_cast<int64_t>(cell) * kHeads + head;
  if constexpr (kIsSame<Element, Q8>) {
    static_assert(kHeadDim % 32 == 0, "a quantised cache wants heads of whole blocks of 32");
    for (int b = 0; b < kHeadDim / 32; ++b) {
      const float value = from[b * 32 + lane];
      const float scale = min(WarpMax(fabsf(value)) * (1.0f / 127), kHalfMax);
      const float inverse = scale > 0 ? 1.0f / scale : 0.0f;
      const int quant = max(-127, min(127, RoundToInt(value * inverse)));
      static_cast<int8_t*>(values)[row * kHeadDim + b * 32 + lane] = static_cast<int8_t>(quant);
      if (lane == 0) scales[row * (kHeadDim / 32) + b] = ToHalf(scale);
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
  } else if constexpr (kIsSame<Element, float>) {
    return static_cast<const float*>(values)[at];
  } else {
    return ToFloat(static_cast<const Element*>(values)[at]);
  }
}

}  // namespace renga::kernels
