// Rows of x, perhaps normed, as f16 with a factor: what StagedRows does, in global memory, once for
// all products by a step's weights.
//
// A block has a row. Its numbers stay in registers between the search for the largest and their
// conversion, where a thread has few enough: one way to L2 and back is all that the row takes.
#pragma once

#include "codegen/kernels/args.cuh"
#include "codegen/kernels/numbers.cuh"

namespace renga::kernels {

// With two parts a row's kPaddedK numbers are followed by as many that hold what rounding left of
// them. Config: kK, kPaddedK (a multiple of 32: what its readers' weights have at most); kXParts (1
// or 2); kWgmmaOrder (whether for matmul_wgmma, then kPaddedK is a multiple of 64); kNorm, kEps;
// kThreads. Grid: rows.
template <class Config>
class HalfRowsKernel {
 public:
  static __device__ __forceinline__ void Run(const HalfRowsArgs& args) {
    SharedArena arena;
    float* of_warps = arena.Take<float>(2 * kWarps);
    const float* x = args.x + static_cast<int64_t>(blockIdx.x) * kK;
    Half* y = args.y + static_cast<int64_t>(blockIdx.x) * (Config::kXParts * kPaddedK);
    Unit kept[kKept ? kRounds : 1];
    [[maybe_unused]] Unit norm[kKept && Config::kNorm ? kRounds : 1];
    if constexpr (kKept && Config::kNorm) {
#pragma unroll
      for (int i = 0; i < kRounds; ++i) norm[i].Load(args.norm, UnitOf(i));
    }
    WaitForPreviousKernel();
    LetNextKernelStart();
    float squares = 0, largest = 0;
    if constexpr (kKept) {
#pragma unroll
      for (int i = 0; i < kRounds; ++i) kept[i].LoadPastL1(x, UnitOf(i));
#pragma unroll
      for (int i = 0; i < kRounds; ++i) {
        kept[i].AddSquares(squares);
        if constexpr (Config::kNorm) kept[i].Multiply(norm[i]);
        kept[i].FindLargest(largest);
      }
    } else {
#pragma unroll 4
      for (int i = 0; i < kRounds; ++i) {
        LoadNormed(x, args.norm, UnitOf(i), squares, kept[0]);
        kept[0].FindLargest(largest);
      }
    }
    Join(of_warps, squares, largest);
    const RowScale row = ScaleOfLargest(largest);
    if constexpr (kKept) {
#pragma unroll
      for (int i = 0; i < kRounds; ++i) Store(kept[i], UnitOf(i), row.scale, y);
    } else {
      float again = 0;
#pragma unroll 4
      for (int i = 0; i < kRounds; ++i) {
        LoadNormed(x, args.norm, UnitOf(i), again, kept[0]);
        Store(kept[0], UnitOf(i), row.scale, y);
      }
    }
    if (threadIdx.x == 0) {
      args.factors[blockIdx.x] =
          row.inverse * (Config::kNorm ? FastRsqrt(squares * (1.0f / kK) + Config::kEps) : 1.0f);
    }
  }

 private:
  static constexpr int kK = Config::kK, kPaddedK = Config::kPaddedK;
  static constexpr int kThreads = Config::kThreads, kWarps = kThreads / 32;
  static constexpr int kEach = kK % 4 == 0 ? 4 : 1;  // numbers that a thread takes at a time
  static constexpr int kUnits = kPaddedK / kEach;
  static constexpr int kRounds = (kUnits + kThreads - 1) / kThreads;
  static constexpr bool kKept = kRounds * kEach <= 32;
  static_assert(kPaddedK % 32 == 0 && kPaddedK >= kK, "see above");

  // Numbers kEach * unit and so on of a row; zeros from kK on.
  struct Unit {
    float at[kEach];

    __device__ __forceinline__ void Load(const float* from, int unit) {
      if constexpr (kEach == 4) {
        Take(unit * 4 < kK ? reinterpret_cast<const float4*>(from)[unit] : make_float4(0, 0, 0, 0));
      } else {
        at[0] = unit < kK ? from[unit] : 0.0f;
      }
    }
    __device__ __forceinline__ void LoadPastL1(const float* from, int unit) {
      if constexpr (kEach == 4) {
        Take(unit * 4 < kK ? LoadFromL2(reinterpret_cast<const float4*>(from) + unit)
                           : make_float4(0, 0, 0, 0));
      } else {
        at[0] = LoadFromL2If(unit < kK, from + unit, 0.0f);
      }
    }
    __device__ __forceinline__ void Multiply(const Unit& by) {
#pragma unroll
      for (int i = 0; i < kEach; ++i) at[i] *= by.at[i];
    }
    __device__ __forceinline__ void AddSquares(float& sum) const {
#pragma unroll
      for (int i = 0; i < kEach; ++i) sum += at[i] * at[i];
    }
    __device__ __forceinline__ void FindLargest(float& largest) const {
#pragma unroll
      for (int i = 0; i < kEach; ++i) largest = max(largest, fabsf(at[i]));
    }

   private:
    __device__ __forceinline__ void Take(const float4& four) {
      at[0] = four.x, at[1] = four.y, at[2] = four.z, at[3] = four.w;
    }
  };

  static __device__ __forceinline__ int UnitOf(int round) { return round * kThreads + threadIdx.x; }

  static __device__ __forceinline__ void LoadNormed(const float* x, const float* norm, int unit,
                                                    float& squares, Unit& to) {
    to.LoadPastL1(x, unit);
    to.AddSquares(squares);
    if constexpr (Config::kNorm) {
      Unit weights;
      weights.Load(norm, unit);
      to.Multiply(weights);
    }
  }

  // Of all threads, in the order of the warps.
  static __device__ __forceinline__ void Join(float* of_warps, float& squares, float& largest) {
    squares = WarpSum(squares);
    largest = WarpMax(largest);
    if (threadIdx.x % 32 == 0) {
      of_warps[threadIdx.x / 32 * 2] = squares;
      of_warps[threadIdx.x / 32 * 2 + 1] = largest;
    }
    SyncThreads();
    squares = 0;
    for (int w = 0; w < kWarps; ++w) {
      squares += of_warps[2 * w];
      largest = max(largest, of_warps[2 * w + 1]);
    }
  }

  // wgmma wants of each 32 what lane q of decoding has at 8 q + 4 h + c where lane q of its own A
  // has it.
  static __device__ __forceinline__ int PlaceOf(int k) {
    if constexpr (!Config::kWgmmaOrder) return k;
    const int q = k % 32 / 8, h = k % 8 / 4, c = k % 4;
    return k / 32 * 32 + 16 * h + c / 2 * 8 + 2 * q + c % 2;
  }

  static __device__ __forceinline__ void Store(const Unit& x, int unit, float scale, Half* y) {
    if (unit >= kUnits) return;
    Unit rest;
#pragma unroll
    for (int i = 0; i < kEach; ++i) rest.at[i] = x.at[i] * scale;
#pragma unroll
    for (int part = 0; part < Config::kXParts; ++part) {
      Half* to = y + part * kPaddedK;
      Half rounded[kEach];
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
        rounded[i] = ToHalf(rest.at[i]);
        rest.at[i] -= ToFloat(rounded[i]);
      }
      if constexpr (kEach == 4) {
        const uint32_t first = rounded[0].bits | static_cast<uint32_t>(rounded[1].bits) << 16;
        const uint32_t second = rounded[2].bits | static_cast<uint32_t>(rounded[3].bits) << 16;
        *reinterpret_cast<uint32_t*>(to + PlaceOf(unit * 4)) = first;
        *reinterpret_cast<uint32_t*>(to + PlaceOf(unit * 4 + 2)) = second;
      } else {
        to[PlaceOf(unit)] = rounded[0];
      }
    }
  }
};

template <class Config>
__device__ __forceinline__ void HalfRows(const HalfRowsArgs& args) {
  HalfRowsKernel<Config>::Run(args);
}

}  // namespace renga::kernels
