// Operators on rows: embed, gather_rows, slice, rms_norm, arg_max. A block takes a row; grid: rows.
#pragma once

#include "codegen/kernels/args.cuh"
#include "codegen/kernels/best.cuh"
#include "codegen/kernels/file_rows.cuh"

namespace renga::kernels {

// y[t] = table[tokens[t]]. A token that the table has not gives a row of NaN.
// Config: File (file_rows.cuh); kVocabulary, kWidth; kThreads.
template <class Config>
__device__ __forceinline__ void Embed(const EmbedArgs& args) {
  using File = typename Config::File;
  constexpr int64_t kRowBytes = int64_t{Config::kWidth} / File::kElements * File::kBytes;
  WaitForPreviousKernel();
  LetNextKernelStart();
  const int token = args.tokens[blockIdx.x];
  const bool there = token >= 0 && token < Config::kVocabulary;
  const uint8_t* row = static_cast<const uint8_t*>(args.table) + (there ? token : 0) * kRowBytes;
  float* y = args.y + static_cast<int64_t>(blockIdx.x) * Config::kWidth;
  for (int i = threadIdx.x; i < Config::kWidth; i += Config::kThreads) {
    const uint8_t* block = row + static_cast<int64_t>(i / File::kElements) * File::kBytes;
    y[i] = there ? File::At(block, i % File::kElements) : FloatOfBits(0x7fc00000u);
  }
}

// y[r] = x[rows[r]]. A row that x has not gives NaN.
// Config: kWidth, kThreads.
template <class Config>
__device__ __forceinline__ void GatherRows(const GatherRowsArgs& args) {
  WaitForPreviousKernel();
  LetNextKernelStart();
  const int row = args.rows[blockIdx.x];
  const bool there = row >= 0 && row < args.rows_of_x;
  const float* x = args.x + static_cast<int64_t>(there ? row : 0) * Config::kWidth;
  float* y = args.y + static_cast<int64_t>(blockIdx.x) * Config::kWidth;
  for (int i = threadIdx.x; i < Config::kWidth; i += Config::kThreads) {
    y[i] = there ? LoadFromL2(x + i) : FloatOfBits(0x7fc00000u);
  }
}

// y[r,i] = x[r, start + i].
// Config: kWidth, kStart, kSize, kThreads.
template <class Config>
__device__ __forceinline__ void Slice(const SliceArgs& args) {
  static_assert(Config::kStart + Config::kSize <= Config::kWidth, "the slice lies in the row");
  WaitForPreviousKernel();
  LetNextKernelStart();
  const float* x = args.x + static_cast<int64_t>(blockIdx.x) * Config::kWidth + Config::kStart;
  float* y = args.y + static_cast<int64_t>(blockIdx.x) * Config::kSize;
  for (int i = threadIdx.x; i < Config::kSize; i += Config::kThreads) y[i] = LoadFromL2(x + i);
}

// y[r,i] = x[r,i] * weight[i] / sqrt(mean(x[r]^2) + eps); y may be x.
// Config: kWidth, kEps, kThreads.
template <class Config>
__device__ __forceinline__ void RmsNorm(const RmsNormArgs& args) {
  SharedArena arena;
  float* squares_of_warp = arena.Take<float>(Config::kThreads / 32);
  WaitForPreviousKernel();
  LetNextKernelStart();
  const int64_t first = static_cast<int64_t>(blockIdx.x) * Config::kWidth;
  float squares = 0;
  for (int i = threadIdx.x; i < Config::kWidth; i += Config::kThreads) {
    const float x = LoadFromL2(args.x + first + i);
    squares += x * x;
  }
  squares = WarpSum(squares);
  if (threadIdx.x % 32 == 0) squares_of_warp[threadIdx.x / 32] = squares;
  SyncThreads();
  squares = 0;
  for (int w = 0; w < Config::kThreads / 32; ++w) squares += squares_of_warp[w];
  const float scale = FastRsqrt(squares * (1.0f / Config::kWidth) + Config::kEps);
  for (int i = threadIdx.x; i < Config::kWidth; i += Config::kThreads) {
    args.y[first + i] = LoadFromL2(args.x + first + i) * scale * args.weight[i];
  }
}

// y[r] = the lowest i with the largest x[r,i]; -1 where one is NaN or +infinity, or all are
// -infinity.
// Config: kWidth, kThreads.
template <class Config>
__device__ __forceinline__ void ArgMax(const ArgMaxArgs& args) {
  SharedArena arena;
  uint64_t* best_of_warp = arena.Take<uint64_t>(Config::kThreads / 32);
  WaitForPreviousKernel();
  LetNextKernelStart();
  const float* x = args.x + static_cast<int64_t>(blockIdx.x) * Config::kWidth;
  Best best;
  for (int i = threadIdx.x; i < Config::kWidth; i += Config::kThreads) {
    best.Take(LoadFromL2(x + i), i);
  }
#pragma unroll
  for (int lane_mask = 16; lane_mask > 0; lane_mask /= 2) best.TakeFromLane(lane_mask);
  if (threadIdx.x % 32 == 0) best_of_warp[threadIdx.x / 32] = best.key;
  SyncThreads();
  if (threadIdx.x != 0) return;
  for (int w = 0; w < Config::kThreads / 32; ++w) best.key = max(best.key, best_of_warp[w]);
  args.y[blockIdx.x] = best.Index();
}

}  // namespace renga::kernels
