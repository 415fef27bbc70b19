// The largest of many logits, by one block of threads: a histogram of how far they lie below the
// largest one, which is known before, a cut behind the bin in which the last one wanted lies, and
// an order by counting, for each of the few before the cut, how many are larger.
//
// Bins are a sixteenth to a thirty-second of what they are away, whatever the scale of a model's
// logits, so few more come through than are wanted. Who comes through does not depend on the order
// in which threads count.
#pragma once

#include "codegen/kernels/args.cuh"
#include "codegen/kernels/primitives.cuh"

namespace renga::kernels {

// A finite logit and its id as a number: larger logits first, of equal ones lower ids. 0 is none;
// -0 is 0.
struct TokenKey {
  static __device__ __forceinline__ uint64_t Of(float logit, int id) {
    const uint32_t bits = BitsOf(logit + 0.0f);
    const uint32_t sortable = (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
    return static_cast<uint64_t>(sortable) << 32 | ~static_cast<uint32_t>(id);
  }
  static __device__ __forceinline__ int Id(uint64_t key) {
    return static_cast<int>(~static_cast<uint32_t>(key));
  }
  static __device__ __forceinline__ float Logit(uint64_t key) {
    const uint32_t bits = static_cast<uint32_t>(key >> 32);
    return FloatOfBits((bits & 0x80000000u) != 0 ? bits & 0x7fffffffu : ~bits);
  }
};

// Of this lane and those before it; all lanes come.
__device__ __forceinline__ uint32_t WarpRunningSum(uint32_t value) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int distance = 1; distance < 32; distance *= 2) {
    const uint32_t other = ShuffleUp(value, distance);
    if (lane >= distance) value += other;
  }
  return value;
}
__device__ __forceinline__ uint64_t WarpRunningSum(uint64_t value) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int distance = 1; distance < 32; distance *= 2) {
    const uint32_t low = ShuffleUp(static_cast<uint32_t>(value), distance);
    const uint32_t high = ShuffleUp(static_cast<uint32_t>(value >> 32), distance);
    if (lane >= distance) value += static_cast<uint64_t>(high) << 32 | low;
  }
  return value;
}

// For a block of kSampleThreads threads, all of which call everything.
class TopKeys {
 public:
  static constexpr int kBins = 256;
  static constexpr int kRoom = 512;  // keys

  __device__ __forceinline__ explicit TopKeys(SharedArena& arena)
      : keys(arena.Take<uint64_t>(kRoom)),
        sorted(arena.Take<uint64_t>(kSampleThreads)),
        bins_(arena.Take<uint32_t>(kBinWords)),
        words_(arena.Take<uint32_t>(2)) {}

  // Neither keys nor counts. A barrier must follow, and precede where the memory was used before.
  __device__ __forceinline__ void Clear() {
    const int t = threadIdx.x;
    reinterpret_cast<Pair*>(keys)[t] = {0, 0};
    if (t < kBinWords / 4) reinterpret_cast<uint4*>(bins_)[t] = make_uint4(0, 0, 0, 0);
    if (t < 2) words_[t] = 0;
  }

  // Counts a logit by how far it is below the largest; -infinity as what is farthest.
  __device__ __forceinline__ void Count(float below) {
    const int bin = min(max(static_cast<int>(BitsOf(below) >> kBinShift) - kFirst, 0), kBins - 1);
    AtomicAdd(bins_ + PlaceOf(bin), 1u);
  }

  // After all have been counted: none of the `wanted` largest is as far below as this. +infinity
  // where the last bin is needed. Every warp finds it by itself, so that nobody waits for it.
  __device__ __forceinline__ float FindCut(uint32_t wanted) const {
    SyncThreads();
    const uint4* own = reinterpret_cast<const uint4*>(bins_ + PlaceOf(threadIdx.x % 32 * 8));
    const uint4 a = own[0], b = own[1];
    const uint32_t counts[8] = {a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w};
    uint32_t sum = 0;
#pragma unroll
    for (int i = 0; i < 8; ++i) sum += counts[i];
    const uint32_t behind = WarpRunningSum(sum);
    const uint32_t reached = Ballot(behind >= wanted);
    uint32_t running = behind - sum;
    int bin = threadIdx.x % 32 * 8;
#pragma unroll
    for (int i = 0; i < 7; ++i) {
      running += counts[i];
      if (running < wanted) ++bin;
    }
    bin = reached == 0 ? kBins - 1 : Shuffle(bin, LowestSetBit(reached));
    return bin == kBins - 1 ? Infinity()
                            : FloatOfBits(static_cast<uint32_t>(kFirst + bin + 1) << kBinShift);
  }

  // A place in a list of which this counts the length; `list` is 0 or 1, and 0 that of `keys`.
  __device__ __forceinline__ int Place(int list) {
    return static_cast<int>(AtomicAdd(words_ + list, 1u));
  }
  // Behind a barrier, how many places of it were taken, also beyond the room.
  __device__ __forceinline__ int taken(int list) const { return static_cast<int>(words_[list]); }

  // Puts the largest of the first `count` keys, at most kRoom, to `sorted`, the largest first:
  // `room` of them at most. Keys behind `count` are zeros, which are none. Barriers must surround
  // it.
  __device__ __forceinline__ void Rank(int count, int room) {
#pragma unroll 1
    for (int i = threadIdx.x; i < count; i += kSampleThreads) {
      const uint64_t key = keys[i];
      int larger = 0;
#pragma unroll 1
      for (int j = 0; j < count; j += 4) {
        const Pair* pair = reinterpret_cast<const Pair*>(keys + j);
        const Pair a = pair[0], b = pair[1];
        larger += (a.first > key ? 1 : 0) + (a.second > key ? 1 : 0);
        larger += (b.first > key ? 1 : 0) + (b.second > key ? 1 : 0);
      }
      if (key != 0 && larger < room) sorted[larger] = key;
    }
  }

  uint64_t* const keys;    // [kRoom]
  uint64_t* const sorted;  // [kSampleThreads]

 private:
  struct __align__(16) Pair {
    uint64_t first, second;
  };
  // 16 bins for each power of two from 2^-8 to 2^8: the leading bits of a number.
  static constexpr int kBinShift = 23 - 4, kFirst = (127 - 8) * 16;
  // Four words behind every eight bins: lanes that read eight bins each then meet no other's bank.
  static constexpr int kBinWords = kBins / 8 * 12;
  static __device__ __forceinline__ int PlaceOf(int bin) { return bin + bin / 8 * 4; }

  uint32_t* bins_;
  uint32_t* words_;
};

}  // namespace renga::kernels
