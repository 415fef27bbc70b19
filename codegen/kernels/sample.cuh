// The next token of rows of logits, by the parameters of each: ids below `vocab` alone, by the
// formulas of runtime/text/sampler.h and with the same result as there. -1 where the
// SampleRow::kept largest logits do not decide, or the largest is not known (a logit is no number,
// all forbid, or padding has the largest): then whoever wants a token looks at the logits.
//
// Grid: (blocks of a row, rows). A block takes the largest of each of the 32 chunks of its part of
// a row; the row's last block then looks into the chunks that have one of the largest, and finishes
// it. Chunk c of a block has the ids that eight neighbouring threads read, 8 c to 8 c + 7 of every
// kSampleThreads: whole sectors of memory, and few of the likely tokens together.
#pragma once

#include "codegen/kernels/sample_filters.cuh"
#include "codegen/kernels/ticket.cuh"

namespace renga::kernels {

class RowSampler {
 public:
  __device__ __forceinline__ explicit RowSampler(const SampleArgs& args)
      : args_(args),
        top_(arena_),
        filters_(arena_),
        chunks_(arena_.Take<int>(kSampleMostBlocks * kSampleChunks)),
        sums_of_warp_(arena_.Take<uint64_t>(kSampleThreads / 32)),
        last_(arena_.Take<uint32_t>(1)),
        row_(args.rows[blockIdx.y]),
        logits_(args.logits + static_cast<int64_t>(row_.row) * args.columns),
        part_(static_cast<int64_t>(blockIdx.y) * gridDim.x + blockIdx.x) {}

  // With `rehearses` set, the blocks of the first row begin with a run through all of it, before
  // they wait for the kernel before: on numbers of their own, and with no result, but afterwards
  // the code is where they run.
  __device__ __forceinline__ void Run() {
    bool rehearses = args_.rehearses != 0 && blockIdx.y == 0;
#pragma unroll 1
    for (;; rehearses = false) {
      if (!rehearses) {
        WaitForPreviousKernel();
        LetNextKernelStart();
      }
      top_.Clear();
      const int best = rehearses ? 0 : LoadFromL2(args_.next + row_.row);
      MaximaOfChunks(rehearses ? 0 : args_.vocab);
      if (best < 0 || best >= args_.vocab) [[unlikely]] {
        if (blockIdx.x == 0 && threadIdx.x == 0) args_.results[blockIdx.y] = {-1, 0, 0, 0, 0};
        return;
      }
      const float max = rehearses ? 0 : LoadFromL2(logits_ + best);
      if (row_.sums != 0 && !rehearses) [[unlikely]]
        SumOfPart(max);
      if (rehearses) {
        SyncThreads();
      } else if (!ComesLast(args_.tickets + blockIdx.y, gridDim.x, last_)) {
        return;
      }
      Finish(max, rehearses);
      if (!rehearses) return;
      SyncThreads();
    }
  }

 private:
  static constexpr int kKeys = 0, kChunks = 1;  // lists of TopKeys::Place

  __device__ __forceinline__ void MaximaOfChunks(int limit) const {
    constexpr int kEach = 8;
    const int begin = static_cast<int>(blockIdx.x) * args_.segment;
    const int end = min(limit, begin + args_.segment);
    float largest = -Infinity();
    int first = begin + threadIdx.x;
#pragma unroll 1
    do {
      float values[kEach];
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
        const int id = first + i * kSampleThreads;
        values[i] = LoadFromL2If(id < end, logits_ + id, -Infinity());
      }
#pragma unroll
      for (int i = 0; i < kEach; ++i) largest = fmaxf(largest, values[i]);
      first += kEach * kSampleThreads;
    } while (first < end);
#pragma unroll
    for (int lane_mask = 1; lane_mask < 8; lane_mask *= 2) {
      largest = fmaxf(largest, ShuffleXor(largest, lane_mask));
    }
    if (limit > 0 && threadIdx.x % 8 == 0) {
      args_.maxima[part_ * kSampleChunks + threadIdx.x / 8] = largest;
    }
  }

  // Loads again, the next one while the last is weighed.
  __device__ __forceinline__ void SumOfPart(float max) const {
    const int begin = static_cast<int>(blockIdx.x) * args_.segment;
    const int end = min(args_.vocab, begin + args_.segment);
    uint64_t sum = 0;
    int id = begin + threadIdx.x;
    float logit = id < end ? LoadFromL2(logits_ + id) : -Infinity();
#pragma unroll 1
    while (id < end) {
      id += kSampleThreads;
      const float next = id < end ? LoadFromL2(logits_ + id) : -Infinity();
      sum += TokenWeight(logit, max);
      logit = next;
    }
    sum = WarpRunningSum(sum);
    if (threadIdx.x % 32 == 31) sums_of_warp_[threadIdx.x / 32] = sum;
    SyncThreads();
    if (threadIdx.x != 0) return;
    sum = 0;
#pragma unroll 1
    for (int w = 0; w < kSampleThreads / 32; ++w) sum += sums_of_warp_[w];
    args_.part_sums[part_] = sum;
  }

  // Of all parts, where it is wanted; warp 0 comes to know it.
  __device__ __forceinline__ uint64_t SumOfRow() const {
    if (row_.sums == 0 || threadIdx.x >= 32) return 0;
    const uint64_t* sums = args_.part_sums + static_cast<int64_t>(blockIdx.y) * gridDim.x;
    uint64_t sum = 0;
#pragma unroll 1
    for (int block = threadIdx.x; block < static_cast<int>(gridDim.x); block += 32) {
      sum += LoadFromL2(sums + block);
    }
    sum = WarpRunningSum(sum);
    const uint32_t high = Shuffle(static_cast<uint32_t>(sum >> 32), 31);
    return static_cast<uint64_t>(high) << 32 | Shuffle(static_cast<uint32_t>(sum), 31);
  }

  // Lists the chunks that have one of the row's largest, and gathers those: how many keys, more
  // than there is room for where too many are too close to each other. all are less than `cut`
  // below the largest.
  __device__ __forceinline__ int Gather(float max, bool rehearses, float& cut) {
    constexpr int kVectors = kSampleMostBlocks * kSampleChunks / (4 * kSampleThreads);
    const int t = threadIdx.x, count = rehearses ? 0 : gridDim.x * kSampleChunks;
    const float* maxima = args_.maxima + static_cast<int64_t>(blockIdx.y) * count;
    const float own = rehearses ? -0.125f * t : -Infinity();
    float largest[4 * kVectors];
#pragma unroll
    for (int i = 0; i < kVectors; ++i) {
      const int chunk = 4 * (i * kSampleThreads + t);
      float4 four = {own, own, own, own};
      if (chunk < count) four = LoadFromL2(reinterpret_cast<const float4*>(maxima + chunk));
      largest[4 * i] = four.x;
      largest[4 * i + 1] = four.y;
      largest[4 * i + 2] = four.z;
      largest[4 * i + 3] = four.w;
    }
#pragma unroll
    for (int i = 0; i < 4 * kVectors; ++i) top_.Count(max - largest[i]);
#pragma unroll 1
    for (int level = 0;; ++level) {
      cut = top_.FindCut(row_.kept);
      if (level == 0) {
        uint32_t takes = 0;
#pragma unroll
        for (int i = 0; i < 4 * kVectors; ++i) {
          const bool one = max - largest[i] < cut;
          takes |= one ? 1u << i : 0u;
        }
#pragma unroll 1
        for (; takes != 0; takes &= takes - 1) {
          const int i = LowestSetBit(takes);
          const int chunk = 4 * (i / 4 * kSampleThreads + t) + i % 4;
          chunks_[top_.Place(kChunks)] =
              chunk / kSampleChunks * args_.segment + chunk % kSampleChunks * 8;
        }
        SyncThreads();
      }
      const int chunks = level == 0 ? top_.taken(kChunks) : chunks_count_;
      Walk<false>(max, own, rehearses ? 0 : args_.vocab, chunks, cut);
      SyncThreads();
      const int taken = top_.taken(kKeys);
      if (taken <= TopKeys::kRoom || level > 0) [[likely]]
        return taken;
      // Too many: the cut of the chunks' largest is none of all. Count those in these chunks.
      chunks_count_ = chunks;
      SyncThreads();
      top_.Clear();
      SyncThreads();
      Walk<true>(max, own, rehearses ? 0 : args_.vocab, chunks, Infinity());
    }
  }

  // All logits of the listed chunks: counts them, or gathers the keys of those less than `cut`
  // below `max`. `own` stands for those from `limit` on.
  template <bool kCounts>
  __device__ __forceinline__ void Walk(float max, float own, int limit, int chunks, float cut) {
    constexpr int kWarps = kSampleThreads / 32, kBatch = kCounts ? 2 : 6;
    const int lane = threadIdx.x % 32;
#pragma unroll 1
    for (int offset = lane / 8 * kSampleThreads + lane % 8; offset < args_.segment;
         offset += 4 * kSampleThreads) {
#pragma unroll 1
      for (int first = threadIdx.x / 32; first < chunks; first += kBatch * kWarps) {
        float values[kBatch];
        int ids[kBatch];
        uint32_t takes = 0;
#pragma unroll
        for (int i = 0; i < kBatch; ++i) {
          ids[i] = chunks_[min(first + i * kWarps, chunks - 1)] + offset;
        }
#pragma unroll
        for (int i = 0; i < kBatch; ++i) {
          const bool listed = first + i * kWarps < chunks;
          values[i] =
              LoadFromL2If(listed && ids[i] < limit, logits_ + ids[i], listed ? own : -Infinity());
        }
#pragma unroll
        for (int i = 0; i < kBatch; ++i) {
          const bool one = max - values[i] < cut;
          takes |= one ? 1u << i : 0u;
        }
#pragma unroll 1
        for (; takes != 0; takes &= takes - 1) {
          const int which = LowestSetBit(takes);
          float value = values[0];
#pragma unroll
          for (int i = 1; i < kBatch; ++i) value = i == which ? values[i] : value;
          if constexpr (kCounts) {
            top_.Count(max - value);
          } else {
            const int at = top_.Place(kKeys);
            const int id = chunks_[first + which * kWarps] + offset;
            if (at < TopKeys::kRoom) top_.keys[at] = TokenKey::Of(value, id);
          }
        }
      }
    }
  }

  __device__ __forceinline__ void Finish(float max, bool rehearses) {
    SampleResult result = {-1, 0, max, 0, 0};
    if (!rehearses) result.sum = SumOfRow();
    float cut = 0;
    int count = Gather(max, rehearses, cut);
    int place = -1;
    if (count <= TopKeys::kRoom) {
      const bool complete = cut == Infinity() && count <= row_.kept;
      int ranked = count, room = row_.kept;
      bool decided = true;
      uint64_t bound = 0;
#pragma unroll 1
      for (;;) {
        top_.Rank(ranked, room);
        SyncThreads();
        if (bound != 0) {
          count = min(filters_.CountFrom(bound, top_), kSampleKept);
          break;
        }
        count = result.top = min(count, row_.kept);
        if (static_cast<int>(threadIdx.x) < count && !rehearses) {
          args_.top[static_cast<int64_t>(blockIdx.y) * kSampleKept + threadIdx.x] =
              top_.sorted[threadIdx.x];
        }
        if (row_.changes == 0) [[likely]]
          break;
        decided = filters_.Change(row_, args_.changes, rehearses ? nullptr : logits_, complete,
                                  count, top_, bound);
        if (!decided) break;
        ranked = room = kSampleThreads;
      }
      if (decided) place = filters_.Choose(row_, !complete, result.sum, top_.sorted, count);
    }
    if (threadIdx.x != 0 || rehearses) return;
    if (place >= 0) {
      const uint64_t key = top_.sorted[place];
      result.id = TokenKey::Id(key);
      result.logit = row_.changes == 0 ? TokenKey::Logit(key) : LoadFromL2(logits_ + result.id);
    }
    args_.results[blockIdx.y] = result;
    args_.next[row_.row] = result.id;
  }

  const SampleArgs& args_;
  SharedArena arena_;
  TopKeys top_;
  SampleFilters filters_;
  int* const chunks_;  // the first id of those listed
  uint64_t* const sums_of_warp_;
  uint32_t* const last_;
  const SampleRow row_;
  const float* const logits_;
  const int64_t part_;
  int chunks_count_ = 0;
};

__device__ __forceinline__ void Sample(const SampleArgs& args) { RowSampler(args).Run(); }

}  // namespace renga::kernels
