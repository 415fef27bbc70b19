// Operators on heads that stand alone: rope, kv_append. A warp takes a head of a token at a time;
// any grid of one dimension.
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

}  // namespace renga::kernels
