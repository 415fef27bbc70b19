#include "runtime/plan/sample_args.h"

#include <algorithm>

#include "runtime/plan/layout.h"

namespace renga::plan {

SampleMemory SampleMemoryOf(const Plan& plan) {
  constexpr int64_t kRowsAtOnce = 64, kRowsWithChanges = 128;
  SampleMemory memory;
  memory.rows = SymbolMax(plan, "R", 1);
  memory.rows_at_once = std::min(memory.rows, kRowsAtOnce);
  memory.changes = std::min(memory.rows, kRowsWithChanges) * kSampleChanges;
  memory.blocks = (plan.model.vocab + kSampleSegment - 1) / kSampleSegment;
  uint64_t at = 0;
  const auto take = [&](int64_t count, uint64_t bytes) {
    const uint64_t begin = at;
    at = AlignUp(at + static_cast<uint64_t>(count) * bytes);
    return begin;
  };
  const int64_t parts = memory.rows_at_once * memory.blocks;
  take(1, static_cast<uint64_t>(memory.rows) * sizeof(SampleRow) +
              static_cast<uint64_t>(memory.changes) * sizeof(SampleChange));
  memory.input_bytes = at;
  memory.results = take(memory.rows, sizeof(SampleResult));
  memory.top = take(memory.rows * kSampleKept, sizeof(uint64_t));
  memory.parts = take(parts * kSamplePart, sizeof(uint64_t));
  memory.part_sums = take(parts, sizeof(uint64_t));
  memory.part_counts = take(parts, sizeof(uint32_t));
  memory.tickets = take(memory.rows_at_once, sizeof(uint32_t));
  memory.bytes = at;
  return memory;
}

}  // namespace renga::plan
