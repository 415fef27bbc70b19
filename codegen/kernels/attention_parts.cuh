// attn_scores, masked_softmax and attn_values as they stand before attention is fused: simple
// loops, f32 sums. For looking at one of them, not for speed.
#pragma once

#include "codegen/kernels/args.cuh"
#include "codegen/kernels/kv_cache.cuh"
#include "codegen/kernels/rope.cuh"

namespace renga::kernels {

// The cell of position j of a sequence; -1 where there is no page.
template <int kPageTokens>
__device__ __forceinline__ int CellOf(const int32_t* pages, int pages_of_sequence, int sequence,
                                      int j) {
  const int page = j / kPageTokens;
  if (page >= pages_of_sequence) return -1;
  const int at = pages[static_cast<int64_t>(sequence) * pages_of_sequence + page];
  return at < 0 ? -1 : at * kPageTokens + j % kPageTokens;
}

// q . bias of a head, the bias turned by a position.
template <class Rope, int kHeadDim>
__device__ __forceinline__ float ScoreOfBias(const float* q, const float* bias, int position) {
  constexpr bool kNeox = Rope::kPairing == RopePairing::kNeox;
  constexpr int kPairs = Rope::kDims / 2;
  float sum = 0;
  for (int pair = 0; pair < kPairs; ++pair) {
    const Rotation rotation = RotationOf<Rope>(position, pair, nullptr);
    const int first = kNeox ? pair : 2 * pair, second = kNeox ? pair + kPairs : 2 * pair + 1;
    const float a = bias[first], b = bias[second];
    sum += LoadFromL2(q + first) * (a * rotation.cos - b * rotation.sin) +
           LoadFromL2(q + second) * (a * rotation.sin + b * rotation.cos);
  }
  for (int d = Rope::kDims; d < kHeadDim; ++d) sum += LoadFromL2(q + d) * bias[d];
  return sum;
}

// s[t,h,j] = scale * q[t,h] . k_cache[cell(t,j), h / group]; 0 where there is no page. With
// positions also 0 beyond the last of the token's sequence: its last page has cells there that
// nobody wrote yet, and that no mask lets anyone see. `score_of_bias(q, kv_head, j)` is added to a
// key's.
// Config: kQueryHeads, kKvHeads, kHeadDim, KeyCache, kPageTokens, kScale. Grid: any, kQueryHeads,
// T.
template <class Config, typename ScoreOfBias>
__device__ __forceinline__ void ScoresWith(const AttnScoresArgs& args, ScoreOfBias score_of_bias) {
  WaitForPreviousKernel();
  LetNextKernelStart();
  const int64_t row = static_cast<int64_t>(blockIdx.z) * Config::kQueryHeads + blockIdx.y;
  const int kv_head = blockIdx.y / (Config::kQueryHeads / Config::kKvHeads);
  const float* q = args.q + row * Config::kHeadDim;
  const int sequence = args.sequences[blockIdx.z];
  int stored = args.span;  // positions of the sequence
  if (args.positions != nullptr) {
    stored = 0;
    for (int t = 0; t < static_cast<int>(gridDim.z); ++t) {
      if (args.sequences[t] == sequence) stored = max(stored, args.positions[t] + 1);
    }
  }
  for (int j = blockIdx.x * blockDim.x + threadIdx.x; j < args.span; j += gridDim.x * blockDim.x) {
    const int cell =
        j < stored ? CellOf<Config::kPageTokens>(args.pages, args.pages_of_sequence, sequence, j)
                   : -1;
    float sum = 0;
    if (cell >= 0) {
      const int64_t key =
          (static_cast<int64_t>(cell) * Config::kKvHeads + kv_head) * Config::kHeadDim;
      for (int d = 0; d < Config::kHeadDim; ++d) {
        sum += LoadFromL2(q + d) *
               LoadElement<typename Config::KeyCache>(args.k_cache, args.k_scales, key + d);
      }
      sum += score_of_bias(q, kv_head, j);
    }
    args.s[row * args.span + j] = sum * static_cast<float>(Config::kScale);
  }
}

template <class Config>
__device__ __forceinline__ void AttnScores(const AttnScoresArgs& args) {
  ScoresWith<Config>(args, [](const float*, int, int) { return 0.0f; });
}

// With a Config that has the Rope of the bias.
template <class Config>
__device__ __forceinline__ void BiasedAttnScores(const BiasedAttnScoresArgs& args) {
  ScoresWith<Config>(args.scores, [&](const float* q, int kv_head, int j) {
    return ScoreOfBias<typename Config::Rope, Config::kHeadDim>(
        q, args.k_bias + kv_head * Config::kHeadDim, j);
  });
}

// p[t,h,j]: softmax of s[t,h] over the visible j, with the sink; 0 for the others.
// Config: kQueryHeads, kCausal, kWindow (0: none), kThreads. Grid: kQueryHeads, T.
template <class Config>
__device__ __forceinline__ void MaskedSoftmax(const MaskedSoftmaxArgs& args) {
  constexpr int kWarps = Config::kThreads / 32;
  SharedArena arena;
  float* of_warp = arena.Take<float>(2 * kWarps);
  WaitForPreviousKernel();
  LetNextKernelStart();
  const int head = blockIdx.x, position = args.positions[blockIdx.y];
  const int64_t row = (static_cast<int64_t>(blockIdx.y) * Config::kQueryHeads + head) * args.span;
  const auto visible = [&](int j) {
    return (!Config::kCausal || j <= position) &&
           (Config::kWindow == 0 || position - j < Config::kWindow);
  };
  float largest = args.sinks == nullptr ? -Infinity() : args.sinks[head];
  for (int j = threadIdx.x; j < args.span; j += Config::kThreads) {
    if (visible(j)) largest = max(largest, LoadFromL2(args.s + row + j));
  }
  largest = WarpMax(largest);
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = largest;
  SyncThreads();
  for (int w = 0; w < kWarps; ++w) largest = max(largest, of_warp[w]);
  float total = 0;
  for (int j = threadIdx.x; j < args.span; j += Config::kThreads) {
    if (visible(j)) total += FastExp2((LoadFromL2(args.s + row + j) - largest) * kLog2E);
  }
  total = WarpSum(total);
  if (threadIdx.x % 32 == 0) of_warp[kWarps + threadIdx.x / 32] = total;
  SyncThreads();
  total = args.sinks == nullptr ? 0.0f : FastExp2((args.sinks[head] - largest) * kLog2E);
  for (int w = 0; w < kWarps; ++w) total += of_warp[kWarps + w];
  for (int j = threadIdx.x; j < args.span; j += Config::kThreads) {
    args.p[row + j] =
        visible(j) ? FastExp2((LoadFromL2(args.s + row + j) - largest) * kLog2E) / total : 0.0f;
  }
}

// y[t,h] = sum_j p[t,h,j] v_cache[cell(t,j), h / group]; keys with p = 0 are not read.
// Config: kQueryHeads, kKvHeads, kHeadDim, ValueCache, kPageTokens. Grid: kQueryHeads, T.
template <class Config>
__device__ __forceinline__ void AttnValues(const AttnValuesArgs& args) {
  WaitForPreviousKernel();
  LetNextKernelStart();
  const int64_t row = static_cast<int64_t>(blockIdx.y) * Config::kQueryHeads + blockIdx.x;
  const int kv_head = blockIdx.x / (Config::kQueryHeads / Config::kKvHeads);
  for (int d = threadIdx.x; d < Config::kHeadDim; d += blockDim.x) {
    float sum = 0;
    for (int j = 0; j < args.span; ++j) {
      const float weight = LoadFromL2(args.p + row * args.span + j);
      if (weight == 0) continue;
      const int cell = CellOf<Config::kPageTokens>(args.pages, args.pages_of_sequence,
                                                   args.sequences[blockIdx.y], j);
      if (cell < 0) continue;
      const int64_t value =
          (static_cast<int64_t>(cell) * Config::kKvHeads + kv_head) * Config::kHeadDim;
      sum +=
          weight * LoadElement<typename Config::ValueCache>(args.v_cache, args.v_scales, value + d);
    }
    args.y[row * Config::kHeadDim + d] = sum;
  }
}

}  // namespace renga::kernels
