// linear, norm_linear and linear_add for a few tokens:
//   y[t,n] = residual[t,n] + sum_k weight[n,k] h[t,k] + bias[n],  h = rms_norm(x, norm) or x
#pragma once

#include "codegen/kernels/args.cuh"
#include "codegen/kernels/matvec.cuh"
#include "codegen/kernels/weights_blocks.cuh"
#include "codegen/kernels/weights_plain.cuh"
#include "codegen/kernels/weights_super.cuh"

namespace renga::kernels {

// Config: Weight; kTokens, kWarps; kXParts (1 or 2); kNorm, kEps. Any grid of one dimension: blocks
// take tiles of 16 rows in turn.
template <class Config>
__device__ __forceinline__ void Linear(const LinearArgs& args) {
  using Weight = typename Config::Weight;
  constexpr int kWarps = Config::kWarps, kTokens = Config::kTokens, kXParts = Config::kXParts;
  using Rows = StagedRows<kWarps * 32, Weight::kK, Weight::kPaddedK, kXParts>;

  SharedArena arena;
  Rows rows(arena, args.tokens);
  TileSums<kWarps, kTokens, kXParts> tile_sums(arena);
  TileStream<typename Weight::Layout, kWarps> stream(args.weight, Weight::kTiles, blockIdx.x,
                                                     gridDim.x);

  if constexpr (Config::kNorm) Rows::BringNorm(args.norm);
  WaitForPreviousKernel();
  LetNextKernelStart();
  rows.template Fill<Config::kNorm>(args.x, args.norm, Config::kEps, args.tokens);

  const float unscale = stream.unscale();
  // Pairs (row of a tile, token) of a thread. What is added to their sums comes before these are
  // there.
  constexpr int kThreads = kWarps * 32, kPairs = (16 * kTokens + kThreads - 1) / kThreads;
  for (int tile = blockIdx.x; tile < Weight::kTiles; tile += gridDim.x) {
    struct Pair {
      bool there;
      int t, n;
      int64_t at;
    };
    const auto pair_of = [&](int i) {
      const int pair = i * kThreads + threadIdx.x, t = pair / 16, n = tile * 16 + pair % 16;
      return Pair{t < args.tokens && n < Weight::kRows, t, n,
                  static_cast<int64_t>(t) * Weight::kRows + n};
    };
    float bias[kPairs], residual[kPairs];
#pragma unroll
    for (int i = 0; i < kPairs; ++i) {
      const Pair pair = pair_of(i);
      bias[i] = pair.there && args.bias != nullptr ? LoadStreaming(args.bias + pair.n) : 0.0f;
      residual[i] =
          pair.there && args.residual != nullptr ? LoadFromL2(args.residual + pair.at) : 0.0f;
    }
    WarpSums<kTokens, kXParts> sums;
    sums.Clear();
    stream.template Multiply<Rows::kPitch>(rows.values, args.tokens, sums);
    const float* all = tile_sums.Put(sums);
    SyncThreads();
#pragma unroll
    for (int i = 0; i < kPairs; ++i) {
      const Pair pair = pair_of(i);
      if (!pair.there) continue;
      const float sum = TileSums<kWarps, kTokens, kXParts>::Sum(all, pair.n % 16, pair.t);
      args.y[pair.at] = sum * unscale * rows.factors[pair.t] + bias[i] + residual[i];
    }
  }
}

}  // namespace renga::kernels
