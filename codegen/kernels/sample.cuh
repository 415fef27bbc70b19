// The next token of rows of logits, by the parameters of each: ids below `vocab` alone, by the
// formulas of runtime/text/sampler.h and with the same result as there. -1 where the kSampleKept
// largest logits do not decide, or the largest is not known (a logit is no number, all forbid, or
// padding has the largest): then whoever wants a token looks at the logits.
//
// Grid: (vocab / kSampleSegment rounded up, rows). A block takes a segment of a row and keeps what
// may be among its largest; a row's last block finishes it.
#pragma once

#include "codegen/kernels/sample_filters.cuh"
#include "codegen/kernels/ticket.cuh"

namespace renga::kernels {

// What a block keeps of its segment: keys, how many, and the sum of weights where that is wanted.
__device__ __forceinline__ void KeepOfSegment(const SampleArgs& args, const SampleRow& row,
                                              const float* logits, float max, TopKeys& top,
                                              uint64_t* sums_of_warp) {
  constexpr int kEach = kSampleSegment / kSampleThreads;
  const int64_t part = static_cast<int64_t>(blockIdx.y) * gridDim.x + blockIdx.x;
  const int first = blockIdx.x * kSampleSegment + threadIdx.x;
  float values[kEach];
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    const int id = first + i * kSampleThreads;
    values[i] = id < args.vocab ? LoadFromL2(logits + id) : -Infinity();
  }
  top.Clear();
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    if (values[i] != -Infinity()) top.Count(max - values[i]);
  }
  top.FindCut();
  top.GatherLogits(values, first, max, args.parts + part * kSamplePart, kSamplePart);
  uint64_t sum = 0;
  if (row.sums != 0) {
    // Loaded again: the loop is long, and registers have no number.
#pragma unroll 1
    for (int id = first; id < min(args.vocab, (static_cast<int>(blockIdx.x) + 1) * kSampleSegment);
         id += kSampleThreads) {
      sum += TokenWeight(LoadFromL2(logits + id), max);
    }
#pragma unroll
    for (int lane_mask = 16; lane_mask > 0; lane_mask /= 2) {
      const uint32_t high = ShuffleXor(static_cast<uint32_t>(sum >> 32), lane_mask);
      const uint32_t low = ShuffleXor(static_cast<uint32_t>(sum), lane_mask);
      sum += static_cast<uint64_t>(high) << 32 | low;
    }
    if (threadIdx.x % 32 == 0) sums_of_warp[threadIdx.x / 32] = sum;
  }
  const int count = top.gathered();
  if (threadIdx.x != 0) return;
  args.part_counts[part] = static_cast<uint32_t>(count);
  sum = 0;
#pragma unroll 1
  for (int w = 0; w < kSampleThreads / 32 && row.sums != 0; ++w) sum += sums_of_warp[w];
  args.part_sums[part] = sum;
}

// Brings the largest of what the row's blocks kept to top.keys, in order: how many, at most
// kSampleKept; -1 where too many are too close to each other. `all`: of all that were kept.
// `counts` is shared memory for a number a thread: loads wait for no other then.
__device__ __forceinline__ int LargestOfParts(const SampleArgs& args, float max, TopKeys& top,
                                              int* counts, int& all) {
  const int64_t first = static_cast<int64_t>(blockIdx.y) * gridDim.x;
  const int blocks = gridDim.x, t = threadIdx.x;
  if (blocks > kSampleThreads) return -1;
  if (t < blocks) counts[t] = static_cast<int>(LoadFromL2(args.part_counts + first + t));
  top.Clear();  // ends with a barrier
  const auto key_of = [&](int block) {
    return t < counts[block] ? LoadFromL2(args.parts + (first + block) * kSamplePart + t)
                             : uint64_t{0};
  };
  all = 0;
#pragma unroll 4
  for (int block = 0; block < blocks; ++block) {
    if (counts[block] > kSamplePart) return -1;
    all += counts[block];
  }
#pragma unroll 8
  for (int block = 0; block < blocks; ++block) {
    const uint64_t key = key_of(block);
    if (key != 0) top.Count(max - TokenKey::Logit(key));
  }
  top.FindCut();
#pragma unroll 8
  for (int block = 0; block < blocks; ++block) {
    const uint64_t key = key_of(block);
    top.Gather(key, max - TokenKey::Logit(key), top.keys, TopKeys::kRoom);
  }
  const int count = top.gathered();
  if (count > TopKeys::kRoom) return -1;
  top.Sort(count);
  return min(count, kSampleKept);
}

__device__ __forceinline__ void Sample(const SampleArgs& args) {
  static_assert(kSamplePart == kSampleThreads, "a thread a key of a part");
  static_assert(kSampleKept + kSampleChanges == kSampleThreads, "a thread a candidate or change");
  SharedArena arena;
  TopKeys top(arena);
  SampleFilters filters(arena);
  uint64_t* sums_of_warp = arena.Take<uint64_t>(kSampleThreads / 32);
  uint32_t* last = arena.Take<uint32_t>(1);

  WaitForPreviousKernel();
  LetNextKernelStart();
  const SampleRow row = args.rows[blockIdx.y];
  SampleResult result = {-1, 0, 0, 0, 0};
  const float* logits = args.logits + static_cast<int64_t>(row.row) * args.columns;
  const int best = LoadFromL2(args.next + row.row);
  if (best < 0 || best >= args.vocab) {
    if (blockIdx.x == 0 && threadIdx.x == 0) args.results[blockIdx.y] = result;
    return;
  }
  result.max = LoadFromL2(logits + best);
  KeepOfSegment(args, row, logits, result.max, top, sums_of_warp);
  if (!ComesLast(args.tickets + blockIdx.y, gridDim.x, last)) return;

  const int64_t first = static_cast<int64_t>(blockIdx.y) * gridDim.x;
#pragma unroll 8
  for (int block = 0; block < (row.sums != 0 ? static_cast<int>(gridDim.x) : 0); ++block) {
    result.sum += LoadFromL2(args.part_sums + first + block);
  }
  int all = 0;
  int count = LargestOfParts(args, result.max, top, filters.counts(), all);
  if (count > 0) {
    const bool complete = all < kSampleKept;
    result.top = count;
    if (static_cast<int>(threadIdx.x) < count) {
      args.top[static_cast<int64_t>(blockIdx.y) * kSampleKept + threadIdx.x] =
          top.keys[threadIdx.x];
    }
    if (filters.Change(row, args.changes, logits, complete, top, count)) {
      result.id = filters.Choose(row, complete, result.sum, top.keys, count);
    }
    if (result.id >= 0) result.logit = LoadFromL2(logits + result.id);
  }
  if (threadIdx.x != 0) return;
  args.results[blockIdx.y] = result;
  args.next[row.row] = result.id;
}

}  // namespace renga::kernels
