// The largest of many values and the lowest place where it stands, whatever the order in which they
// come (ir/ops/arg_max.cc).
#pragma once

#include "codegen/kernels/primitives.cuh"

namespace renga::kernels {

struct Best {
  // Orders candidates: bits of the value, made to sort as numbers, then the inverted index. 0 is
  // nothing; all ones, above every candidate, is a value that spoils the choice.
  uint64_t key = 0;

  __device__ __forceinline__ void Take(float value, int index) {
    uint64_t candidate = ~uint64_t{0};
    if (value < Infinity()) {                      // not NaN
      const uint32_t bits = BitsOf(value + 0.0f);  // -0 is 0
      const uint32_t sortable = (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
      candidate = static_cast<uint64_t>(sortable) << 32 | ~static_cast<uint32_t>(index);
    }
    if (value == -Infinity()) return;
    key = max(key, candidate);
  }
  __device__ __forceinline__ void TakeFromLane(int lane_mask) {
    const uint32_t high = ShuffleXor(static_cast<uint32_t>(key >> 32), lane_mask);
    const uint32_t low = ShuffleXor(static_cast<uint32_t>(key), lane_mask);
    key = max(key, static_cast<uint64_t>(high) << 32 | low);
  }
  __device__ __forceinline__ int32_t Index() const {
    if (key == 0 || key == ~uint64_t{0}) return -1;
    return static_cast<int32_t>(~static_cast<uint32_t>(key));
  }
};

}  // namespace renga::kernels
