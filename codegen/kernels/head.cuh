// head for a few rows: logits and the token that greedy decoding goes on with.
//   logits[r,n] = weight[n] . h[r] + bias[n],  h = rms_norm(x, norm) or x
//   next[r]     = the lowest n with the largest logit; -1 where one is NaN or +infinity, or all are
//                 -infinity
#pragma once

#include "codegen/kernels/args.cuh"
#include "codegen/kernels/best.cuh"
#include "codegen/kernels/matvec.cuh"
#include "codegen/kernels/ticket.cuh"
#include "codegen/kernels/weights_blocks.cuh"
#include "codegen/kernels/weights_plain.cuh"
#include "codegen/kernels/weights_super.cuh"

namespace renga::kernels {

// Config: Weight; kTokens, kWarps; kNorm, kEps. Any grid of one dimension.
template <class Config>
__device__ __forceinline__ void Head(const HeadArgs& args) {
  using Weight = typename Config::Weight;
  constexpr int kWarps = Config::kWarps, kTokens = Config::kTokens, kThreads = kWarps * 32;
  using Rows = StagedRows<kThreads, Weight::kK, Weight::kPaddedK>;
  // Pairs (row of a tile, token) of a thread.
  constexpr int kPairs = (16 * kTokens + kThreads - 1) / kThreads;

  SharedArena arena;
  Rows rows(arena, args.rows);
  TileSums<kWarps, kTokens> tile_sums(arena);
  uint32_t* last = arena.Take<uint32_t>(1);
  TileStream<typename Weight::Layout, kWarps> stream(args.weight, Weight::kTiles, blockIdx.x,
                                                     gridDim.x);

  if constexpr (Config::kNorm) Rows::BringNorm(args.norm);
  WaitForPreviousKernel();
  LetNextKernelStart();
  rows.template Fill<Config::kNorm>(args.x, args.norm, Config::kEps, args.rows);

  const float unscale = stream.unscale();
  Best best[kPairs];
  for (int tile = blockIdx.x; tile < Weight::kTiles; tile += gridDim.x) {
    WarpSums<kTokens> sums;
    sums.Clear();
    stream.template Multiply<Rows::kPitch>(rows.values, args.rows, sums);
    const float* all = tile_sums.Put(sums);
    SyncThreads();
#pragma unroll
    for (int i = 0; i < kPairs; ++i) {
      const int pair = i * kThreads + threadIdx.x, r = pair / 16, n = tile * 16 + pair % 16;
      if (r >= args.rows || n >= Weight::kRows) continue;
      float logit = TileSums<kWarps, kTokens>::Sum(all, pair % 16, r) * unscale * rows.factors[r];
      if (args.bias != nullptr) logit += args.bias[n];
      if (args.logits != nullptr) args.logits[static_cast<int64_t>(r) * Weight::kRows + n] = logit;
      best[i].Take(logit, n);
    }
  }

  // The 16 lanes of a row, then the blocks.
#pragma unroll
  for (int i = 0; i < kPairs; ++i) {
    const int pair = i * kThreads + threadIdx.x;
#pragma unroll
    for (int lane_mask = 8; lane_mask > 0; lane_mask /= 2) best[i].TakeFromLane(lane_mask);
    if (pair % 16 == 0 && pair / 16 < args.rows) AtomicMax(args.best + pair / 16, best[i].key);
  }
  if (!ComesLast(args.ticket, gridDim.x, last)) return;
  for (int r = threadIdx.x; r < args.rows; r += kThreads) {
    args.next[r] = Best{LoadFromL2(args.best + r)}.Index();
    args.best[r] = 0;
  }
}

}  // namespace renga::kernels
