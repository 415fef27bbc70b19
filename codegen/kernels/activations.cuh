// What the products read: rows of x, perhaps normed, as f16 in shared memory.
//
// A row is multiplied by a power of two that brings its largest value to 2^14..2^15, so nothing
// overflows and only what is 2^-28 of that largest loses digits; the row's factor puts the sums
// right. The norm needs no second pass: its weights go in, its 1/rms is part of the factor.
#pragma once

#include "codegen/kernels/numbers.cuh"

namespace renga::kernels {

// Rows of kK values in shared memory.
template <int kThreads, int kK, int kPaddedK>
struct StagedRows {
  static constexpr int kWarps = kThreads / 32;
  // Halves from row to row. An odd multiple of 64 bytes: the 16-byte loads of two rows' lanes then
  // fall into different banks.
  static constexpr int kPitch = (kPaddedK + 63) / 64 * 64 + 32;

  Half* values;    // [tokens, kPitch], zeros from kK to kPaddedK
  float* factors;  // [tokens], of the sums
  float* partial;  // [tokens, kWarps, 2]

  __device__ __forceinline__ StagedRows(SharedArena& arena, int tokens)
      : values(arena.Take<Half>(tokens * kPitch)),
        factors(arena.Take<float>(tokens)),
        partial(arena.Take<float>(tokens * kWarps * 2)) {}

  // From x[tokens, kK], times norm[kK] and with 1/rms in the factors where kNorm. All threads of
  // the block; ends with a barrier.
  template <bool kNorm>
  __device__ __forceinline__ void Fill(const float* x, const float* norm, float eps, int tokens) {
    for (int t = 0; t < tokens; ++t) {
      float squares = 0, largest = 0;
      ForEach<kNorm>(x + static_cast<int64_t>(t) * kK, norm,
                     [&](int, const float(&in)[kVector], const float(&normed)[kVector]) {
#pragma unroll
                       for (int i = 0; i < kVector; ++i) {
                         squares += in[i] * in[i];
                         largest = max(largest, fabsf(normed[i]));
                       }
                     });
      if (kNorm) squares = WarpSum(squares);
      largest = WarpMax(largest);
      if (threadIdx.x % 32 == 0) {
        float* mine = partial + (t * kWarps + threadIdx.x / 32) * 2;
        mine[0] = squares;
        mine[1] = largest;
      }
    }
    SyncThreads();
    for (int t = 0; t < tokens; ++t) {
      float squares = 0, largest = 0;
      for (int w = 0; w < kWarps; ++w) {
        squares += partial[(t * kWarps + w) * 2];
        largest = max(largest, partial[(t * kWarps + w) * 2 + 1]);
      }
      const RowScale row = ScaleOfLargest(largest);
      if (threadIdx.x == 0) {
        factors[t] = row.inverse * (kNorm ? FastRsqrt(squares * (1.0f / kK) + eps) : 1.0f);
      }
      Half* to = values + t * kPitch;
      ForEach<kNorm>(x + static_cast<int64_t>(t) * kK, norm,
                     [&](int k, const float(&)[kVector], const float(&normed)[kVector]) {
                       if constexpr (kVector == 4) {
                         *reinterpret_cast<uint2*>(to + k) =
                             make_uint2(ToHalf2(normed[0] * row.scale, normed[1] * row.scale).bits,
                                        ToHalf2(normed[2] * row.scale, normed[3] * row.scale).bits);
                       } else {
                         to[k] = ToHalf(normed[0] * row.scale);
                       }
                     });
      for (int k = kK + threadIdx.x; k < kPaddedK; k += kThreads) to[k] = Half{0};
    }
    SyncThreads();
  }

 private:
  static constexpr int kVector = kK % 4 == 0 ? 4 : 1;

  template <bool kNorm, typename Function>
  static __device__ __forceinline__ void ForEach(const float* x, const float* norm,
                                                 Function function) {
#pragma unroll 4
    for (int k = threadIdx.x * kVector; k < kK; k += kThreads * kVector) {
      float in[kVector], normed[kVector];
      LoadVector<false>(x + k, in);
      if constexpr (kNorm) {
        float weights[kVector];
        LoadVector<true>(norm + k, weights);
#pragma unroll
        for (int i = 0; i < kVector; ++i) normed[i] = in[i] * weights[i];
      } else {
#pragma unroll
        for (int i = 0; i < kVector; ++i) normed[i] = in[i];
      }
      function(k, in, normed);
    }
  }

  // Streaming is for what no kernel writes.
  template <bool kStreaming>
  static __device__ __forceinline__ void LoadVector(const float* from, float (&to)[kVector]) {
    if constexpr (kVector == 4) {
      const auto* four = reinterpret_cast<const float4*>(from);
      const float4 v = kStreaming ? LoadStreaming(four) : LoadFromL2(four);
      to[0] = v.x, to[1] = v.y, to[2] = v.z, to[3] = v.w;
    } else {
      to[0] = kStreaming ? LoadStreaming(from) : LoadFromL2(from);
    }
  }
};

}  // namespace renga::kernels
