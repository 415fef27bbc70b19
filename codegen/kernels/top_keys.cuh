// The largest of many logits, in two levels: each block of threads keeps those of its segment that
// may be among them, the last block those of all.
//
// A level is a histogram of how far logits lie below the largest one, which is known before, and a
// cut behind the bin in which the last one wanted lies. Bins are an eighth to a hundredth of what
// they are away, whatever the scale of a model's logits, so few more come through than are wanted.
// Who comes through does not depend on the order in which threads count.
#pragma once

#include "codegen/kernels/args.cuh"
#include "codegen/kernels/best.cuh"

namespace renga::kernels {

// A logit and its id as a number: larger logits first, of equal ones lower ids. 0 is none; -0 is 0.
struct TokenKey {
  static __device__ __forceinline__ uint64_t Of(float logit, int id) {
    if (logit == -Infinity()) return 0;
    Best best;
    best.Take(logit, id);
    return best.key;
  }
  static __device__ __forceinline__ int Id(uint64_t key) {
    return static_cast<int>(~static_cast<uint32_t>(key));
  }
  static __device__ __forceinline__ float Logit(uint64_t key) {
    const uint32_t bits = static_cast<uint32_t>(key >> 32);
    return FloatOfBits((bits & 0x80000000u) != 0 ? bits & 0x7fffffffu : ~bits);
  }
};

// For a block of kSampleThreads threads, all of which call everything.
class TopKeys {
 public:
  static constexpr int kBins = 512;
  static constexpr int kRoom = 512;  // keys

  __device__ __forceinline__ explicit TopKeys(SharedArena& arena)
      : keys(arena.Take<uint64_t>(kRoom)),
        bins_(arena.Take<uint32_t>(kBins)),
        warps_(arena.Take<uint32_t>(kSampleThreads / 32)),
        words_(arena.Take<uint32_t>(2)) {}

  // Begins a level.
  __device__ __forceinline__ void Clear() {
    for (int i = threadIdx.x; i < kBins; i += kSampleThreads) bins_[i] = 0;
    if (threadIdx.x == 0) {
      words_[kCut] = kBins - 1;
      words_[kTaken] = 0;
    }
    SyncThreads();
  }

  // Counts a logit that is not -infinity.
  __device__ __forceinline__ void Count(float below) { AtomicAdd(bins_ + BinOf(below), 1u); }

  // After all have been counted: finds the cut behind which none of the kSampleKept largest lies.
  __device__ __forceinline__ void FindCut() {
    SyncThreads();
    constexpr int kEach = kBins / kSampleThreads;
    uint32_t own[kEach], sum = 0;
#pragma unroll
    for (int i = 0; i < kEach; ++i) sum += own[i] = bins_[threadIdx.x * kEach + i];
    uint32_t running = WarpRunningSum(sum);
    if (threadIdx.x % 32 == 31) warps_[threadIdx.x / 32] = running;
    SyncThreads();
    running -= sum;
#pragma unroll 1
    for (int w = 0; w < static_cast<int>(threadIdx.x) / 32; ++w) running += warps_[w];
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      const bool before = running < kSampleKept;
      running += own[i];
      if (before && running >= kSampleKept) words_[kCut] = threadIdx.x * kEach + i;
    }
    SyncThreads();
  }

  // Puts a key into `to`, which has room for `room`, where it is before the cut. Of all lanes; 0 is
  // none. In any order.
  __device__ __forceinline__ void Gather(uint64_t key, float below, uint64_t* to, int room) {
    const bool takes = key != 0 && BinOf(below) <= words_[kCut];
    const uint32_t takers = Ballot(takes);
    if (takers == 0) return;
    const int lane = threadIdx.x % 32;
    uint32_t first = 0;
    if (lane == 0) first = AtomicAdd(words_ + kTaken, static_cast<uint32_t>(PopCount(takers)));
    first = Shuffle(first, 0);
    const int at = static_cast<int>(first) + PopCount(takers & ((1u << lane) - 1));
    if (takes && at < room) to[at] = key;
  }

  // The same for logits that a thread holds, of id `first` and every kSampleThreads-th behind it:
  // one place to count at for all of a warp's.
  template <int kCount>
  __device__ __forceinline__ void GatherLogits(const float (&logits)[kCount], int first, float max,
                                               uint64_t* to, int room) {
    uint32_t takes = 0;
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const bool one = logits[i] != -Infinity() && BinOf(max - logits[i]) <= words_[kCut];
      takes |= one ? 1u << i : 0u;
    }
    const uint32_t count = static_cast<uint32_t>(PopCount(takes));
    const uint32_t running = WarpRunningSum(count);
    uint32_t at = 0;
    if (threadIdx.x % 32 == 31) at = AtomicAdd(words_ + kTaken, running);
    at = Shuffle(at, 31) + running - count;
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      if ((takes >> i & 1) == 0) continue;
      if (static_cast<int>(at) < room) to[at] = TokenKey::Of(logits[i], first + i * kSampleThreads);
      ++at;
    }
  }

  // How many were gathered, also beyond the room.
  __device__ __forceinline__ int gathered() const {
    SyncThreads();
    return static_cast<int>(words_[kTaken]);
  }

  // Sorts the first `count` of `keys`, at most kRoom, largest first; zeros follow.
  __device__ __forceinline__ void Sort(int count) {
    int size = 2;
    while (size < count) size *= 2;
#pragma unroll 1
    for (int i = count + threadIdx.x; i < size; i += kSampleThreads) keys[i] = 0;
    SyncThreads();
#pragma unroll 1
    for (int run = 2; run <= size; run *= 2) {
#pragma unroll 1
      for (int distance = run / 2; distance > 0; distance /= 2) {
#pragma unroll 1
        for (int pair = threadIdx.x; pair < size / 2; pair += kSampleThreads) {
          const int i = pair / distance * 2 * distance + pair % distance, j = i + distance;
          const uint64_t a = keys[i], b = keys[j];
          if ((a < b) == ((i & run) == 0)) {
            keys[i] = b;
            keys[j] = a;
          }
        }
        SyncThreads();
      }
    }
  }

  uint64_t* const keys;  // [kRoom]

 private:
  static constexpr int kCut = 0, kTaken = 1;

  // Of this lane and those before it.
  static __device__ __forceinline__ uint32_t WarpRunningSum(uint32_t value) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int distance = 1; distance < 32; distance *= 2) {
      const uint32_t other = Shuffle(value, max(lane - distance, 0));
      if (lane >= distance) value += other;
    }
    return value;
  }

  // 32 bins for each power of two from 2^-8 to 2^8.
  static __device__ __forceinline__ uint32_t BinOf(float below) {
    constexpr int kFirst = (127 - 8) * 32;
    return static_cast<uint32_t>(
        min(max(static_cast<int>(BitsOf(below) >> 18) - kFirst, 0), kBins - 1));
  }

  uint32_t* bins_;
  uint32_t* warps_;
  uint32_t* words_;
};

}  // namespace renga::kernels
