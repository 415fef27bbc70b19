// What the products read: rows of x, perhaps normed, as f16 in shared memory.
//
// A row is multiplied by a power of two that brings its largest value to 2^14..2^15, so nothing
// overflows and only what is 2^-28 of that largest loses digits; the row's factor puts the sums
// right. The norm needs no second pass: its weights go in, its 1/rms is part of the factor. In two
// parts a number is the sum of two f16.
#pragma once

#include "codegen/kernels/numbers.cuh"

namespace renga::kernels {

// Whether what a thread loads of a row of `padded_k` fits its registers, beside the weights that
// are under way; and where it does not, the floats of shared memory that hold it, unless these were
// too many for a second block on the multiprocessor.
__host__ __device__ constexpr bool StagedKeeps(int threads, int padded_k) {
  return padded_k <= 32 * threads;
}
__host__ __device__ constexpr int StagedRowFloats(int threads, int padded_k) {
  return StagedKeeps(threads, padded_k) || padded_k > 16384 ? 0 : padded_k;
}

// Rows of kK values in shared memory.
template <int kThreads, int kK, int kPaddedK, int kXParts = 1>
struct StagedRows {
  static constexpr int kWarps = kThreads / 32;
  // Halves from row to row. An odd multiple of 64 bytes: the 16-byte loads of two rows' lanes then
  // fall into different banks.
  static constexpr int kPitch = (kPaddedK + 63) / 64 * 64 + 32;

  Half* values;    // [tokens, kXParts, kPitch], zeros from kK to kPaddedK
  float* factors;  // [tokens], of the sums
  float* partial;  // [tokens, kWarps, 2]
  float* staged;   // [kStagedRow]

  __device__ __forceinline__ StagedRows(SharedArena& arena, int tokens)
      : values(arena.Take<Half>(tokens * kXParts * kPitch)),
        factors(arena.Take<float>(tokens)),
        partial(arena.Take<float>(tokens * kWarps * 2)),
        staged(kStagedRow > 0 ? arena.Take<float>(kStagedRow) : nullptr) {}

  // Before WaitForPreviousKernel: the norm's weights, which nobody has read since the last step,
  // are on their way to L2. A block brings a few lines of them, several blocks the same.
  static __device__ __forceinline__ void BringNorm(const float* norm) {
    constexpr int kLine = 32, kLines = (kK + kLine - 1) / kLine, kOfBlock = 4;
    if (threadIdx.x >= kOfBlock) return;
    PrefetchToL2(norm + (blockIdx.x * kOfBlock + threadIdx.x) % kLines * kLine);
  }

  // From x[tokens, kK], times norm[kK] and with 1/rms in the factors where kNorm. All threads of
  // the block; ends with a barrier.
  template <bool kNorm>
  __device__ __forceinline__ void Fill(const float* x, const float* norm, float eps, int tokens) {
    // Of the last row, which for a single token is all there is, what a thread has loaded stays.
    // All blocks read all of x: a second time would take as long as a good part of the weights.
    Kept kept;
    for (int t = 0; t < tokens; ++t) {
      float squares = 0, largest = 0;
      const auto take = [&](const float(&in)[kVector], const float(&normed)[kVector]) {
#pragma unroll
        for (int i = 0; i < kVector; ++i) {
          squares += in[i] * in[i];
          largest = max(largest, fabsf(normed[i]));
        }
      };
      Load<kNorm>(x + static_cast<int64_t>(t) * kK, norm, kept, take);
      if (kNorm) squares = WarpSum(squares);
      largest = WarpMax(largest);
      if (threadIdx.x % 32 == 0) {
        float* mine = partial + (t * kWarps + threadIdx.x / 32) * 2;
        mine[0] = squares;
        mine[1] = largest;
      }
    }
    SyncThreads();
    for (int t = tokens - 1; t >= 0; --t) {
      float squares = 0, largest = 0;
      for (int w = 0; w < kWarps; ++w) {
        squares += partial[(t * kWarps + w) * 2];
        largest = max(largest, partial[(t * kWarps + w) * 2 + 1]);
      }
      const RowScale row = ScaleOfLargest(largest);
      if (threadIdx.x == 0) {
        factors[t] = row.inverse * (kNorm ? FastRsqrt(squares * (1.0f / kK) + eps) : 1.0f);
      }
      const float* from = x + static_cast<int64_t>(t) * kK;
      if (kKeeps && t < tokens - 1) {
        Load<kNorm>(from, norm, kept, [](const float(&)[kVector], const float(&)[kVector]) {});
      }
      Half* to = values + t * kXParts * kPitch;
      const auto store = [&](int k, const float(&normed)[kVector]) {
        float rest[kVector];
#pragma unroll
        for (int i = 0; i < kVector; ++i) rest[i] = normed[i] * row.scale;
#pragma unroll
        for (int part = 0; part < kXParts; ++part) {
          if constexpr (kVector == 4) {
            const Half2 first = ToHalf2(rest[0], rest[1]), second = ToHalf2(rest[2], rest[3]);
            *reinterpret_cast<uint2*>(to + part * kPitch + k) = make_uint2(first.bits, second.bits);
            rest[0] -= LowToFloat(first), rest[1] -= HighToFloat(first);
            rest[2] -= LowToFloat(second), rest[3] -= HighToFloat(second);
          } else {
            const Half of_part = ToHalf(rest[0]);
            to[part * kPitch + k] = of_part;
            rest[0] -= ToFloat(of_part);
          }
        }
      };
      if constexpr (kKeeps) {
#pragma unroll
        for (int v = 0; v < kVectors; ++v) {
          if (PlaceOf(v) < kK) store(PlaceOf(v), kept.values[v]);
        }
      } else {
        const bool is_staged = kStagedRow > 0 && t == tokens - 1;
#pragma unroll 4
        for (int v = 0; v < kVectors; ++v) {
          if (PlaceOf(v) >= kK) break;
          float in[kVector], normed[kVector];
          if (is_staged) {
            TakeStaged(PlaceOf(v), normed);
          } else {
            LoadOne<kNorm>(from, norm, PlaceOf(v), in, normed);
          }
          store(PlaceOf(v), normed);
        }
      }
      for (int k = kK + threadIdx.x; k < kPaddedK; k += kThreads) {
        to[k] = Half{0};
        if constexpr (kXParts == 2) to[kPitch + k] = Half{0};
      }
    }
    SyncThreads();
  }

 private:
  static constexpr int kVector = kK % 4 == 0 ? 4 : 1;
  // Of a thread in a row.
  static constexpr int kVectors = (kK + kThreads * kVector - 1) / (kThreads * kVector);
  // Whether a thread has registers for them, beside the weights that are under way.
  static constexpr bool kKeeps = StagedKeeps(kThreads, kPaddedK);
  static constexpr int kStagedRow = StagedRowFloats(kThreads, kPaddedK);
  struct Kept {
    float values[kKeeps ? kVectors : 1][kVector];  // with the norm's weights
  };

  static __device__ __forceinline__ int PlaceOf(int vector) {
    return (vector * kThreads + threadIdx.x) * kVector;
  }

  // Calls function(x, x with the norm's weights) for each vector of this thread.
  template <bool kNorm, typename Function>
  __device__ __forceinline__ void Load(const float* x, const float* norm, Kept& kept,
                                       Function function) const {
    if constexpr (kKeeps) {
      float in[kVectors][kVector];
#pragma unroll
      for (int v = 0; v < kVectors; ++v) {
        if (PlaceOf(v) < kK) LoadOne<kNorm>(x, norm, PlaceOf(v), in[v], kept.values[v]);
      }
#pragma unroll
      for (int v = 0; v < kVectors; ++v) {
        if (PlaceOf(v) < kK) function(in[v], kept.values[v]);
      }
    } else {
#pragma unroll 4
      for (int v = 0; v < kVectors; ++v) {
        if (PlaceOf(v) >= kK) break;
        float in[kVector], normed[kVector];
        LoadOne<kNorm>(x, norm, PlaceOf(v), in, normed);
        function(in, normed);
        if constexpr (kStagedRow > 0) PutStaged(PlaceOf(v), normed);
      }
    }
  }

  // Each thread takes what it put, so no barrier is between them.
  __device__ __forceinline__ void PutStaged(int k, const float (&from)[kVector]) const {
    if constexpr (kVector == 4) {
      *reinterpret_cast<float4*>(staged + k) = make_float4(from[0], from[1], from[2], from[3]);
    } else {
      staged[k] = from[0];
    }
  }
  __device__ __forceinline__ void TakeStaged(int k, float (&to)[kVector]) const {
    if constexpr (kVector == 4) {
      const float4 v = *reinterpret_cast<const float4*>(staged + k);
      to[0] = v.x, to[1] = v.y, to[2] = v.z, to[3] = v.w;
    } else {
      to[0] = staged[k];
    }
  }

  template <bool kNorm>
  static __device__ __forceinline__ void LoadOne(const float* x, const float* norm, int k,
                                                 float (&in)[kVector], float (&normed)[kVector]) {
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
