// The ranks of a byte-pair vocabulary's merges, by the ids of their two parts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/types/span.h"

namespace renga {

// A flat table: building it is part of a model's start-up time (150,000 merges).
class MergeRanks {
 public:
  MergeRanks() = default;

  // merges: pairs of ids, none negative, best first. Of equal pairs the first counts.
  explicit MergeRanks(absl::Span<const std::pair<int32_t, int32_t>> merges);

  // Place in the list; -1: the two do not merge. Ids may be -1 (no token).
  int32_t Find(int32_t left, int32_t right) const;

 private:
  struct Slot {
    uint64_t pair;  // left id << 32 | right id; kFree
    int32_t rank;
  };
  static constexpr uint64_t kFree = ~uint64_t{0};

  static uint64_t Pair(int32_t left, int32_t right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  }
  size_t Begin(uint64_t pair) const;

  std::vector<Slot> slots_;  // a power of two, at least half of them free; linear probing
  uint64_t seed_ = 0;
};

}  // namespace renga
