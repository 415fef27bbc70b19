// What is done to heads: rope and kv_append where they stand alone, and all that follows the
// products of a qkv_rope of many tokens. A warp takes a head of a token at a time; any grid of one
// dimension.
#pragma once

#include "codegen/kernels/args.cuh"
#include "codegen/kernels/kv_cache.cuh"
#include "codegen/kernels/rope.cuh"

namespace renga::kernels {

// y[t,h] = x[t,h] rotated by positions[t]; y may be x.
// Config: kHeads, kHeadDim, Rope (rope.cuh), kWarps.
template <class Config>
__device__ __forceinline__ void RopeAlone(const RopeArgs& args) {
  SharedArena arena;
  float* all = arena.Take<float>(Config::kWarps * Config::kHeadDim);
  float* values = all + threadIdx.x / 32 * Config::kHeadDim;
  const HeadValues<Config::kHeadDim> in_shared = {values};
  WaitForPreviousKernel();
  LetNextKernelStart();
  const int lane = threadIdx.x % 32;
  for (int row = blockIdx.x * Config::kWarps + threadIdx.x / 32; row < args.tokens * Config::kHeads;
       row += gridDim.x * Config::kWarps) {
    const int64_t first = static_cast<int64_t>(row) * Config::kHeadDim;
    for (int d = lane; d < Config::kHeadDim; d += 32) values[d] = LoadFromL2(args.x + first + d);
    SyncWarp();
    in_shared.template Rotate<typename Config::Rope>(args.positions[row / Config::kHeads],
                                                     args.factors);
    for (int d = lane; d < Config::kHeadDim; d += 32) args.y[first + d] = values[d];
    SyncWarp();
  }
}

// cache[cells[t],h] = x[t,h]; cells below 0 are not written.
// Config: kHeads, kHeadDim, Element (kv_cache.cuh), kWarps.
template <class Config>
__device__ __forceinline__ void KvAppend(const KvAppendArgs& args) {
  SharedArena arena;
  float* all = arena.Take<float>(Config::kWarps * Config::kHeadDim);
  float* values = all + threadIdx.x / 32 * Config::kHeadDim;
  WaitForPreviousKernel();
  LetNextKernelStart();
  const int lane = threadIdx.x % 32;
  for (int row = blockIdx.x * Config::kWarps + threadIdx.x / 32; row < args.tokens * Config::kHeads;
       row += gridDim.x * Config::kWarps) {
    const int64_t first = static_cast<int64_t>(row) * Config::kHeadDim;
    for (int d = lane; d < Config::kHeadDim; d += 32) values[d] = LoadFromL2(args.x + first + d);
    SyncWarp();
    StoreHead<typename Config::Element, Config::kHeads, Config::kHeadDim>(
        args.cache, args.scales, args.cells[row / Config::kHeads], row % Config::kHeads, values);
    SyncWarp();
  }
}

// q_out[t,h] = rope(norm(q[t,h])), k_cache[cells[t],h] = rope(norm(k[t,h])), v_cache[cells[t],h] =
// v[t,h]; norms where kHeadNorm, cells below 0 are not written.
// Config: kQueryHeads, kKvHeads, kHeadDim, Rope (rope.cuh), kHeadNorm, kHeadEps, KeyCache,
// ValueCache (kv_cache.cuh), kWarps.
template <class Config>
__device__ __forceinline__ void FinishHeads(const FinishHeadsArgs& args) {
  constexpr int kHeadDim = Config::kHeadDim, kQuery = Config::kQueryHeads, kKv = Config::kKvHeads;
  constexpr int kHeads = kQuery + 2 * kKv;
  SharedArena arena;
  float* all = arena.Take<float>(Config::kWarps * kHeadDim);
  float* values = all + threadIdx.x / 32 * kHeadDim;
  const HeadValues<kHeadDim> in_shared = {values};
  WaitForPreviousKernel();
  LetNextKernelStart();
  const int lane = threadIdx.x % 32;
  for (int row = blockIdx.x * Config::kWarps + threadIdx.x / 32; row < args.tokens * kHeads;
       row += gridDim.x * Config::kWarps) {
    const int t = row / kHeads, h = row % kHeads;
    const bool is_query = h < kQuery, is_value = h >= kQuery + kKv;
    const int head = is_query ? h : is_value ? h - kQuery - kKv : h - kQuery;
    const int64_t at = (static_cast<int64_t>(t) * (is_query ? kQuery : kKv) + head) * kHeadDim;
    const float* from = is_query ? args.q : is_value ? args.v : args.k;
    for (int d = lane; d < kHeadDim; d += 32) values[d] = LoadFromL2(from + at + d);
    SyncWarp();
    if (!is_value) {
      if constexpr (Config::kHeadNorm) {
        in_shared.Norm(is_query ? args.q_norm : args.k_norm, Config::kHeadEps);
      }
      in_shared.template Rotate<typename Config::Rope>(args.positions[t], args.factors);
    }
    if (is_query) {
      for (int d = lane; d < kHeadDim; d += 32) args.q_out[at + d] = values[d];
    } else if (is_value) {
      StoreHead<typename Config::ValueCache, kKv, kHeadDim>(args.v_cache, args.v_scales,
                                                            args.cells[t], head, values);
    } else {
      StoreHead<typename Config::KeyCache, kKv, kHeadDim>(args.k_cache, args.k_scales,
                                                          args.cells[t], head, values);
    }
    SyncWarp();
  }
}

}  // namespace renga::kernels
