// y = W x for many tokens, with mma.sync, from the weights that decoding reads (weights.cuh).
//
// A warp keeps kRowTiles tiles of 16 rows of sums for kTileTokens tokens. It loads its own weights,
// a step ahead, and dequantises them in registers: no f16 copy of the weights exists anywhere. The
// tokens, f16 already (HalfRows), come to shared memory in chunks of up to 64 k through cp.async,
// kStages of them under way. Where there are few tokens kDepthWarps warps divide k among them, so
// that enough loads of weights are under way; their sums are added in the order of the warps.
#pragma once

#include "codegen/kernels/activations.cuh"
#include "codegen/kernels/args.cuh"
#include "codegen/kernels/weights_blocks.cuh"
#include "codegen/kernels/weights_plain.cuh"
#include "codegen/kernels/weights_super.cuh"

namespace renga::kernels {

// Where a sum of a product goes.
template <class Weight>
__device__ __forceinline__ void StoreProduct(const MatmulArgs& args, int row, int t, float sum,
                                             float unscale) {
  if (row >= Weight::kRows || t >= args.tokens) return;
  const int64_t at = static_cast<int64_t>(t) * Weight::kRows + row;
  float y = sum * unscale * args.factors[t];
  if (args.bias != nullptr) y += args.bias[row];
  if (args.residual != nullptr) y += LoadFromL2(args.residual + at);
  args.y[at] = y;
}

// Config: Weight; kXParts, kPitch (halves of a part of a row of x, at least the weight's padded k);
// kTileTokens (a multiple of 8), kRowTiles, kRowWarps, kDepthWarps, kStages (2 or more).
// Grid: tiles / (kRowTiles * kRowWarps) and tokens / kTileTokens, both rounded up.
template <class Config>
class MatmulKernel {
 public:
  using Weight = typename Config::Weight;
  using Type = typename Weight::Type;
  static constexpr int kTileTokens = Config::kTileTokens, kRowTiles = Config::kRowTiles;
  static constexpr int kDepth = Config::kDepthWarps, kStages = Config::kStages;
  static constexpr int kXParts = Config::kXParts;
  static constexpr int kThreads = 32 * Config::kRowWarps * kDepth;
  static constexpr int kRows = 16 * kRowTiles * Config::kRowWarps;

  static __device__ __forceinline__ void Run(const MatmulArgs& args) {
    MatmulKernel kernel(args);
    kernel.LoadWeights(0);
    WaitForPreviousKernel();
    LetNextKernelStart();
    kernel.Multiply();
    kernel.Finish();
  }

 private:
  static constexpr int kChunkBlocks = Weight::kBlocks < 2 ? 1 : 2;
  static constexpr int kChunkK = 32 * kChunkBlocks, kChunks = Weight::kBlocks / kChunkBlocks;
  static constexpr int kStepsOfWarp = (Weight::kSteps + kDepth - 1) / kDepth;
  // Halves from token to token: an odd multiple of 64 bytes, as in StagedRows.
  static constexpr int kStagePitch = kChunkBlocks == 1 ? 32 : 96;
  static constexpr int kStageHalves = kDepth * kTileTokens * kStagePitch;
  static constexpr int kGroups = kTileTokens / 8;
  static_assert(kTileTokens % 8 == 0 && kStages >= 2 && Config::kPitch >= Weight::kPaddedK,
                "see above");
  static_assert(kRowTiles * kTileTokens <= 128, "more sums than a lane has registers for");

  __device__ __forceinline__ explicit MatmulKernel(const MatmulArgs& args)
      : args_(args),
        view_(args.weight, Weight::kTiles, threadIdx.x % 32),
        stages_(arena_.Take<Half>(kStages * kStageHalves)),
        sums_(kDepth > 1 ? arena_.Take<float>(kRows * kTileTokens) : nullptr) {
    lane_ = threadIdx.x % 32;
    row_warp_ = threadIdx.x / 32 % Config::kRowWarps;
    depth_ = threadIdx.x / 32 / Config::kRowWarps;
    first_tile_ = (blockIdx.x * Config::kRowWarps + row_warp_) * kRowTiles;
    first_token_ = blockIdx.y * kTileTokens;
    exponent_ = view_.LoadExponent();
#pragma unroll
    for (int i = 0; i < kRowTiles; ++i) {
#pragma unroll
      for (int n = 0; n < kGroups; ++n) {
#pragma unroll
        for (int c = 0; c < 4; ++c) sum_[i][n][c] = 0;
      }
    }
  }

  // Whether this warp has step `step` of its share of k.
  __device__ __forceinline__ bool HasStep(int step) const {
    return step < kStepsOfWarp && depth_ * kStepsOfWarp + step < Weight::kSteps &&
           first_tile_ < Weight::kTiles;
  }

  __device__ __forceinline__ void LoadWeights(int step) {
    if (!HasStep(step)) return;
#pragma unroll
    for (int i = 0; i < kRowTiles; ++i) {
      // A tile that is not there is read as the last.
      const int tile = min(first_tile_ + i, Weight::kTiles - 1);
      view_.Load(static_cast<uint32_t>(tile) * Weight::kSteps + depth_ * kStepsOfWarp + step,
                 next_[i]);
    }
  }

  // A part of a chunk of each share of k, of all tokens, to its stage; the parts of a chunk one
  // after another. Always ends a group of copies.
  __device__ __forceinline__ void LoadStage(int load) {
    const int chunk = load / kXParts;
    if (chunk < kStepsOfWarp * kChunks) {
      constexpr int kPieces = kChunkK / 8;
      const Half* x = args_.x + load % kXParts * Config::kPitch;
      Half* stage = stages_ + load % kStages * kStageHalves;
      for (int i = threadIdx.x; i < kDepth * kTileTokens * kPieces; i += kThreads) {
        const int piece = i % kPieces, row = i / kPieces, token = row % kTileTokens;
        const int k =
            row / kTileTokens * kStepsOfWarp * Weight::kStepK + chunk * kChunkK + piece * 8;
        if (k >= Weight::kPaddedK) continue;
        const bool there = first_token_ + token < args_.tokens;
        const int64_t from =
            static_cast<int64_t>(there ? first_token_ + token : 0) * (kXParts * Config::kPitch);
        CopyAsync16OrZero(stage + row * kStagePitch + piece * 8, x + from + k, there);
      }
    }
    CommitCopies();
  }

  __device__ __forceinline__ void Multiply() {
    const typename Type::Factor factor = Type::Factor::Of(exponent_);
    for (int load = 0; load < kStages - 1; ++load) LoadStage(load);
    for (int step = 0; step < kStepsOfWarp; ++step) {
      typename Weight::Step now[kRowTiles];
      typename Type::Scales scales[kRowTiles];
      const bool has = HasStep(step);
#pragma unroll
      for (int i = 0; i < kRowTiles; ++i) {
        now[i] = next_[i];
        scales[i] = Type::Prepare(now[i].words, factor);
      }
      LoadWeights(step + 1);
#pragma unroll
      for (int c = 0; c < kChunks * kXParts; ++c) {
        const int load = step * kChunks * kXParts + c;
        WaitForCopies<kStages - 2>();
        SyncThreads();  // this load is there, and all are done with the one before
        LoadStage(load + kStages - 1);
        if (!has) continue;
        const Half* tokens = stages_ + load % kStages * kStageHalves +
                             (depth_ * kTileTokens + lane_ / 4) * kStagePitch + lane_ % 4 * 8;
#pragma unroll
        for (int b = 0; b < kChunkBlocks; ++b) {
          Fragments a[kRowTiles][Type::kParts];
#pragma unroll
          for (int i = 0; i < kRowTiles; ++i) {
            Type::Dequantize(now[i].words, scales[i], c / kXParts * kChunkBlocks + b, a[i]);
          }
#pragma unroll
          for (int n = 0; n < kGroups; ++n) {
            const uint4 eight =
                *reinterpret_cast<const uint4*>(tokens + n * 8 * kStagePitch + b * 32);
            const uint32_t first[2] = {eight.x, eight.y}, second[2] = {eight.z, eight.w};
#pragma unroll
            for (int i = 0; i < kRowTiles; ++i) {
#pragma unroll
              for (int part = 0; part < Type::kParts; ++part) {
                MmaF16(sum_[i][n], a[i][part][0], first);
                MmaF16(sum_[i][n], a[i][part][1], second);
              }
            }
          }
        }
      }
    }
    WaitForCopies<0>();
  }

  __device__ __forceinline__ void Finish() {
    const float unscale = Type::Unscale(exponent_);
    const int g = lane_ / 4, q = lane_ % 4;
    for (int depth = 0; depth < kDepth; ++depth) {
      if (depth == depth_) {
#pragma unroll
        for (int i = 0; i < kRowTiles; ++i) {
#pragma unroll
          for (int n = 0; n < kGroups; ++n) {
#pragma unroll
            for (int c = 0; c < 4; ++c) {
              const int row = i * 16 + c / 2 * 8 + g, token = n * 8 + 2 * q + c % 2;
              if constexpr (kDepth == 1) {
                StoreProduct<Weight>(args_, first_tile_ * 16 + row, first_token_ + token,
                                     sum_[i][n][c], unscale);
              } else {
                float& sum = sums_[(row_warp_ * kRowTiles * 16 + row) * kTileTokens + token];
                sum = depth == 0 ? sum_[i][n][c] : sum + sum_[i][n][c];
              }
            }
          }
        }
      }
      if constexpr (kDepth > 1) SyncThreads();
    }
    if constexpr (kDepth > 1) {
      for (int i = threadIdx.x; i < kRows * kTileTokens; i += kThreads) {
        const int row = i % kRows, token = i / kRows;
        StoreProduct<Weight>(args_, blockIdx.x * kRows + row, first_token_ + token,
                             sums_[row * kTileTokens + token], unscale);
      }
    }
  }

  const MatmulArgs& args_;
  typename Weight::View view_;
  SharedArena arena_;
  Half* stages_;  // [kStages, kDepth, kTileTokens, kStagePitch]
  float* sums_;   // [kRows, kTileTokens] where k is divided
  int lane_, row_warp_, depth_, first_tile_, first_token_, exponent_;
  typename Weight::Step next_[kRowTiles] = {};
  float sum_[kRowTiles][kGroups][4];
};

template <class Config>
__device__ __forceinline__ void Matmul(const MatmulArgs& args) {
  MatmulKernel<Config>::Run(args);
}

}  // namespace renga::kernels
