// Mixtures of experts: moe_route, expert_linear, expert_sum. Plain loops over global memory: they
// are there so that every graph runs, not to be fast.
#pragma once

#include "codegen/kernels/args.cuh"
#include "codegen/kernels/file_rows.cuh"
#include "codegen/kernels/integers.cuh"
#include "codegen/kernels/numbers.cuh"

namespace renga::kernels {

// The used largest of softmax(scores[t]), ties to the lower expert. One thread a token: experts are
// few. Config: kExperts, kUsed, kNormalise. Grid: tokens.
template <class Config>
__device__ __forceinline__ void Route(const RouteArgs& args) {
  WaitForPreviousKernel();
  LetNextKernelStart();
  if (threadIdx.x != 0) return;
  const float* scores = args.scores + static_cast<int64_t>(blockIdx.x) * Config::kExperts;
  int32_t* experts = args.experts + static_cast<int64_t>(blockIdx.x) * Config::kUsed;
  float* weights = args.weights + static_cast<int64_t>(blockIdx.x) * Config::kUsed;
  float largest = -Infinity(), sum = 0;
  for (int e = 0; e < Config::kExperts; ++e) largest = max(largest, LoadFromL2(scores + e));
  for (int e = 0; e < Config::kExperts; ++e) {
    sum += FastExp2((LoadFromL2(scores + e) - largest) * kLog2E);
  }
  // Each after the one before, in the order of falling score, then rising id.
  float before = Infinity(), total = 0;
  int before_id = -1;
  for (int u = 0; u < Config::kUsed; ++u) {
    float best = -Infinity();
    int id = 0;
    bool found = false;
    for (int e = 0; e < Config::kExperts; ++e) {
      const float score = LoadFromL2(scores + e);
      const bool follows = score < before || (score == before && e > before_id);
      if (follows && (!found || score > best)) {
        best = score;
        id = e;
        found = true;
      }
    }
    before = best;
    before_id = id;
    const float p = FastExp2((best - largest) * kLog2E) / sum;
    experts[u] = id;
    weights[u] = p;
    total += p;
  }
  if (!Config::kNormalise) return;
  total = max(total, 6.103515625e-5f);  // the smallest normal half, as the operator has it
  for (int u = 0; u < Config::kUsed; ++u) weights[u] = weights[u] / total;
}

// y[t,u,n] = weight[experts[t,u],n] . x[t] or x[t,u]. A warp a value.
// Config: File (file_rows.cuh); kExperts, kRows, kK, kUsed, kPerExpert (x has an axis `used`),
// kWarps. Grid: kRows / kWarps rounded up, kUsed, tokens.
template <class Config>
__device__ __forceinline__ void ExpertLinear(const ExpertLinearArgs& args) {
  using File = typename Config::File;
  constexpr int64_t kRowBytes = int64_t{Config::kK} / File::kElements * File::kBytes;
  WaitForPreviousKernel();
  LetNextKernelStart();
  const int n = blockIdx.x * Config::kWarps + threadIdx.x / 32, lane = threadIdx.x % 32;
  if (n >= Config::kRows) return;
  const int64_t pair = static_cast<int64_t>(blockIdx.z) * Config::kUsed + blockIdx.y;
  const int expert = args.experts[pair];
  const uint8_t* row = static_cast<const uint8_t*>(args.weight) +
                       (static_cast<int64_t>(expert) * Config::kRows + n) * kRowBytes;
  const float* x =
      args.x + (Config::kPerExpert ? pair : static_cast<int64_t>(blockIdx.z)) * Config::kK;
  float sum = 0;
  for (int k = lane; k < Config::kK; k += 32) {
    sum += File::At(row + static_cast<int64_t>(k / File::kElements) * File::kBytes,
                    k % File::kElements) *
           LoadFromL2(x + k);
  }
  sum = WarpSum(sum);
  if (lane == 0) args.y[pair * Config::kRows + n] = sum;
}

// y[t,n] = sum_u weights[t,u] x[t,u,n]. Config: kUsed, kWidth, kThreads. Grid: tokens.
template <class Config>
__device__ __forceinline__ void ExpertSum(const ExpertSumArgs& args) {
  WaitForPreviousKernel();
  LetNextKernelStart();
  const int64_t token = blockIdx.x;
  for (int n = threadIdx.x; n < Config::kWidth; n += Config::kThreads) {
    float sum = 0;
    for (int u = 0; u < Config::kUsed; ++u) {
      sum += LoadFromL2(args.weights + token * Config::kUsed + u) *
             LoadFromL2(args.x + (token * Config::kUsed + u) * Config::kWidth + n);
    }
    args.y[token * Config::kWidth + n] = sum;
  }
}

}  // namespace renga::kernels
