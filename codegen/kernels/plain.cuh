// The operators that fusions usually take away: attention in its parts, slices, mixtures of
// experts. Plain loops over global memory: they are there so that every graph runs, not to be fast.
#pragma once

#include "codegen/kernels/file_rows.cuh"
#include "codegen/kernels/integers.cuh"
#include "codegen/kernels/numbers.cuh"

namespace renga::kernels {

struct ScoresArgs {
  const float* q;            // [tokens, q_heads, head_dim]
  const void* k_cache;       // [cells, kv_heads, head_dim] of Element
  const int32_t* sequences;  // [tokens]
  const int32_t* pages;      // [sequences, pages_of_sequence]; below 0: no page
  float* y;                  // [tokens, q_heads, span]
  int pages_of_sequence;
  int span;
};
struct SoftmaxArgs {
  const float* x;            // [tokens, heads, span]
  const int32_t* positions;  // [tokens]
  const float* sinks;        // [heads] or null
  float* y;                  // as x
  int span;
};
struct ValuesArgs {
  const float* p;            // [tokens, q_heads, span]
  const void* v_cache;       // [cells, kv_heads, head_dim] of Element
  const int32_t* sequences;  // [tokens]
  const int32_t* pages;      // [sequences, pages_of_sequence]; below 0: no page
  float* y;                  // [tokens, q_heads, head_dim]
  int pages_of_sequence;
  int span;
};
struct PlainSliceArgs {
  const float* x;  // [rows, width]
  float* y;        // [rows, size]
};
struct RouteArgs {
  const float* scores;  // [tokens, experts]
  int32_t* experts;     // [tokens, used]
  float* weights;       // [tokens, used]
};
struct ExpertLinearArgs {
  const float* x;          // [tokens, k] or [tokens, used, k]
  const void* weight;      // [experts, rows, k] as the file has it
  const int32_t* experts;  // [tokens, used]
  float* y;                // [tokens, used, rows]
};
struct ExpertSumArgs {
  const float* x;        // [tokens, used, width]
  const float* weights;  // [tokens, used]
  float* y;              // [tokens, width]
};

__device__ __forceinline__ float ToFloat(float x) { return x; }

// The cell of position j of a sequence; -1 where it has none.
template <int kPageTokens>
__device__ __forceinline__ int64_t CellOf(const int32_t* pages, int pages_of_sequence, int sequence,
                                          int j) {
  const int page = j / kPageTokens;
  if (page >= pages_of_sequence) return -1;
  const int32_t at = pages[static_cast<int64_t>(sequence) * pages_of_sequence + page];
  return at < 0 ? -1 : static_cast<int64_t>(at) * kPageTokens + j % kPageTokens;
}

// y[t,h,j] = scale * q[t,h] . k[j]; 0 where there is no key. A thread a key.
// Config: kQueryHeads, kKvHeads, kHeadDim, kPageTokens, kScale, kThreads; Element.
// Grid: span / kThreads rounded up, kQueryHeads, tokens.
template <class Config>
__device__ __forceinline__ void Scores(const ScoresArgs& args) {
  WaitForPreviousKernel();
  LetNextKernelStart();
  const int j = blockIdx.x * Config::kThreads + threadIdx.x;
  if (j >= args.span) return;
  const int head = blockIdx.y;
  const int64_t row = static_cast<int64_t>(blockIdx.z) * Config::kQueryHeads + head;
  const int64_t cell = CellOf<Config::kPageTokens>(args.pages, args.pages_of_sequence,
                                                   args.sequences[blockIdx.z], j);
  float sum = 0;
  if (cell >= 0) {
    const float* q = args.q + row * Config::kHeadDim;
    const auto* k = static_cast<const typename Config::Element*>(args.k_cache) +
                    (cell * Config::kKvHeads + head / (Config::kQueryHeads / Config::kKvHeads)) *
                        Config::kHeadDim;
    for (int d = 0; d < Config::kHeadDim; ++d) sum += LoadFromL2(q + d) * ToFloat(k[d]);
  }
  args.y[row * args.span + j] = sum * static_cast<float>(Config::kScale);
}

// y = softmax of the visible x, with the head's sink among them; 0 elsewhere. A block a row.
// Config: kHeads, kCausal, kWindow (0: none), kThreads. Grid: heads, tokens.
template <class Config>
__device__ __forceinline__ void MaskedSoftmax(const SoftmaxArgs& args) {
  constexpr int kWarps = Config::kThreads / 32;
  SharedArena arena;
  float* of_warp = arena.Take<float>(2 * kWarps);
  WaitForPreviousKernel();
  LetNextKernelStart();
  const int position = args.positions[blockIdx.y];
  const int64_t first =
      (static_cast<int64_t>(blockIdx.y) * Config::kHeads + blockIdx.x) * args.span;
  const auto visible = [&](int j) {
    return (!Config::kCausal || j <= position) &&
           (Config::kWindow == 0 || position - j < Config::kWindow);
  };
  float largest = -Infinity();
  for (int j = threadIdx.x; j < args.span; j += Config::kThreads) {
    if (visible(j)) largest = max(largest, LoadFromL2(args.x + first + j));
  }
  largest = WarpMax(largest);
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = largest;
  SyncThreads();
  if (args.sinks != nullptr) largest = args.sinks[blockIdx.x];
  for (int w = 0; w < kWarps; ++w) largest = max(largest, of_warp[w]);
  float sum = 0;
  for (int j = threadIdx.x; j < args.span; j += Config::kThreads) {
    if (visible(j)) sum += FastExp2((LoadFromL2(args.x + first + j) - largest) * kLog2E);
  }
  sum = WarpSum(sum);
  if (threadIdx.x % 32 == 0) of_warp[kWarps + threadIdx.x / 32] = sum;
  SyncThreads();
  sum = args.sinks == nullptr ? 0.0f : FastExp2((args.sinks[blockIdx.x] - largest) * kLog2E);
  for (int w = 0; w < kWarps; ++w) sum += of_warp[kWarps + w];
  for (int j = threadIdx.x; j < args.span; j += Config::kThreads) {
    args.y[first + j] =
        visible(j) ? FastExp2((LoadFromL2(args.x + first + j) - largest) * kLog2E) / sum : 0.0f;
  }
}

// y[t,h] = sum_j p[t,h,j] v[j]. A block a row.
// Config: kQueryHeads, kKvHeads, kHeadDim, kPageTokens, kThreads; Element. Grid: q_heads, tokens.
template <class Config>
__device__ __forceinline__ void AttentionValues(const ValuesArgs& args) {
  WaitForPreviousKernel();
  LetNextKernelStart();
  const int sequence = args.sequences[blockIdx.y];
  const int64_t row = static_cast<int64_t>(blockIdx.y) * Config::kQueryHeads + blockIdx.x;
  const int kv_head = blockIdx.x / (Config::kQueryHeads / Config::kKvHeads);
  const auto* values = static_cast<const typename Config::Element*>(args.v_cache);
  for (int d = threadIdx.x; d < Config::kHeadDim; d += Config::kThreads) {
    float sum = 0;
    for (int j = 0; j < args.span; ++j) {
      const float weight = LoadFromL2(args.p + row * args.span + j);
      // A cell that no token may see holds anything.
      if (weight == 0.0f) continue;
      const int64_t cell =
          CellOf<Config::kPageTokens>(args.pages, args.pages_of_sequence, sequence, j);
      if (cell < 0) continue;
      sum += weight * ToFloat(values[(cell * Config::kKvHeads + kv_head) * Config::kHeadDim + d]);
    }
    args.y[row * Config::kHeadDim + d] = sum;
  }
}

// y[r,i] = x[r,start + i]. Config: kWidth, kStart, kSize, kThreads. Grid: rows.
template <class Config>
__device__ __forceinline__ void PlainSlice(const PlainSliceArgs& args) {
  WaitForPreviousKernel();
  LetNextKernelStart();
  const float* x = args.x + static_cast<int64_t>(blockIdx.x) * Config::kWidth + Config::kStart;
  float* y = args.y + static_cast<int64_t>(blockIdx.x) * Config::kSize;
  for (int i = threadIdx.x; i < Config::kSize; i += Config::kThreads) y[i] = LoadFromL2(x + i);
}

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
