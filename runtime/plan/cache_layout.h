// How the cells of a cache lie in its memory. One cell after another, but for q8_0 and q4_0 on a
// GPU: there the quants of all cells come first, [C, heads, head_dim / 32] of 32 or 16 bytes as the
// types' blocks have them, then the scales of all in f16, [C, heads, head_dim / 32]. So both can be
// read in words; blocks of 34 or 18 bytes could not. It is as many bytes as blocks are.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/plan/plan.h"

namespace renga::plan {

// From the start of the cache's memory.
struct ByteRange {
  uint64_t offset = 0, bytes = 0;
  friend bool operator==(const ByteRange&, const ByteRange&) = default;
};

// Where the scales of a cache that has them apart start; 0 for others. `cache` is one of the
// plan's.
uint64_t ScalesOffset(const Plan& plan, const Cache& cache);

// Where cell `cell`, from 0 and below those of its group, lies: one range, or its quants and its
// scales.
std::vector<ByteRange> CellRanges(const Plan& plan, const Cache& cache, int64_t cell);

// The same for the cells of page `page`: as many ranges, each geometry.page_tokens times as long.
std::vector<ByteRange> PageRanges(const Plan& plan, const Cache& cache, int64_t page);

}  // namespace renga::plan
