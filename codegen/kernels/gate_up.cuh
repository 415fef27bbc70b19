// gate_up for a few tokens:
//   y[t,n] = activation(gate[n] . h[t] + gate_bias[n]) * (up[n] . h[t] + up_bias[n]),
//   h = rms_norm(x, norm) or x
#pragma once

#include "codegen/kernels/activation.cuh"
#include "codegen/kernels/args.cuh"
#include "codegen/kernels/matvec.cuh"
#include "codegen/kernels/weights_blocks.cuh"
#include "codegen/kernels/weights_plain.cuh"
#include "codegen/kernels/weights_super.cuh"

namespace renga::kernels {

// Config: Gate, Up (weights of one shape); kTokens, kWarps; kXParts (1 or 2); kNorm, kEps;
// kActivation. Any grid of one dimension: blocks take tiles of 16 rows in turn, gate's and then
// up's.
template <class Config>
__device__ __forceinline__ void GateUp(const GateUpArgs& args) {
  using Gate = typename Config::Gate;
  using Up = typename Config::Up;
  static_assert(Gate::kRows == Up::kRows && Gate::kK == Up::kK, "gate and up have one shape");
  constexpr int kWarps = Config::kWarps, kTokens = Config::kTokens, kXParts = Config::kXParts;
  constexpr int kPaddedK = Gate::kPaddedK > Up::kPaddedK ? Gate::kPaddedK : Up::kPaddedK;
  using Rows = StagedRows<kWarps * 32, Gate::kK, kPaddedK, kXParts>;

  SharedArena arena;
  Rows rows(arena, args.tokens);
  TileSums<kWarps, kTokens, kXParts> gate_sums(arena), up_sums(arena);
  TileStream<typename Gate::Layout, kWarps, 2> gate(args.gate, Gate::kTiles, blockIdx.x, gridDim.x);
  TileStream<typename Up::Layout, kWarps, 2> up(args.up, Up::kTiles, blockIdx.x, gridDim.x);

  if constexpr (Config::kNorm) Rows::BringNorm(args.norm);
  WaitForPreviousKernel();
  LetNextKernelStart();
  rows.template Fill<Config::kNorm>(args.x, args.norm, Config::kEps, args.tokens);

  const float gate_unscale = gate.unscale(), up_unscale = up.unscale();
  for (int tile = blockIdx.x; tile < Gate::kTiles; tile += gridDim.x) {
    WarpSums<kTokens, kXParts> sums;
    sums.Clear();
    gate.template Multiply<Rows::kPitch>(rows.values, args.tokens, sums);
    const float* gate_shared = gate_sums.Put(sums);
    sums.Clear();
    up.template Multiply<Rows::kPitch>(rows.values, args.tokens, sums);
    up_sums.Add(sums, args.tokens, [&](int row, int t, float up_sum) {
      const int n = tile * 16 + row;
      if (n >= Gate::kRows) return;
      float g = TileSums<kWarps, kTokens, kXParts>::Sum(gate_shared, row, t) * gate_unscale *
                rows.factors[t];
      float u = up_sum * up_unscale * rows.factors[t];
      if (args.gate_bias != nullptr) g += args.gate_bias[n];
      if (args.up_bias != nullptr) u += args.up_bias[n];
      args.y[static_cast<int64_t>(t) * Gate::kRows + n] = Activate<Config::kActivation>(g) * u;
    });
  }
}

}  // namespace renga::kernels
