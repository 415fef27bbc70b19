// Pairs unmatched nodes of both sides that have the same key.
#pragma once

#include <cstdint>
#include <functional>

#include "ir/diff/line_up.h"

namespace renga {

enum class BucketRule {
  kUnique,  // a key that one node of each side has
  kEqual,   // as many nodes of each side: in order
  kInOrder  // as many as the side with fewer has: in order
};

// `key` of an unmatched node of either side; 0 leaves it out. Returns how many pairs it made.
int PairBuckets(LineUp* line_up, BucketRule rule,
                const std::function<uint64_t(const LineUpSide& side, int node)>& key);

}  // namespace renga
