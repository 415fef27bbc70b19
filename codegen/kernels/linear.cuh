// linear, norm_linear and linear_add for a few tokens:
//   y[t,n] = residual[t,n] + sum_k weight[n,k] h[t,k] + bias[n],  h = rms_norm(x, norm) or x
#pragma once

#include "codegen/kernels/args.cuh"
#include "codegen/kernels/matvec.cuh"
#include "codegen/kernels/weights_blocks.cuh"
#include "codegen/kernels/weights_plain.cuh"
#include "codegen/kernels/weights_super.cuh"

namespace renga::kernels {

// Config: Weight; kTokens, kWarps; kNorm, kEps. Any grid of one dimension: blocks take tiles of 16
// rows in turn.
template <class Config>
__device__ __forceinline__ void Linear(const LinearArgs& args) {
  using Weight = typename Config::Weight;
  constexpr int kWarps = Config::kWarps, kTokens = Config::kTokens;
  using Rows = StagedRows<kWarps * 32, Weight::kK, Weight::kPaddedK>;

  SharedArena arena;
  Rows rows(arena, args.tokens);
  TileSums<kWarps, kTokens> tile_sums(arena);
  TileStream<typename Weight::Layout, kWarps> stream(args.weight, Weight::kTiles, blockIdx.x,
                                                     gridDim.x);

  WaitForPreviousKernel();
  LetNextKernelStart();
  rows.template Fill<Config::kNorm>(args.x, args.norm, Config::kEps, args.tokens);

  const float unscale = stream.unscale();
  for (int tile = blockIdx.x; tile < Weight::kTiles; tile += gridDim.x) {
    WarpSums<kTokens> sums;
    sums.Clear();
    stream.template Multiply<Rows::kPitch>(rows.values, args.tokens, sums);
    tile_sums.Add(sums, args.tokens, [&](int row, int t, float sum) {
      const int n = tile * 16 + row;
      if (n >= Weight::kRows) return;
      const int64_t at = static_cast<int64_t>(t) * Weight::kRows + n;
      float y = sum * unscale * rows.factors[t];
      if (args.bias != nullptr) y += args.bias[n];
      if (args.residual != nullptr) y += LoadFromL2(args.residual + at);
      args.y[at] = y;
    });
  }
}

}  // namespace renga::kernels
