// Two graphs run on the same tokens by the reference interpreter, and compared value by value:
// `diff --values` of graphs, plans and GGUFs.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ir/trace/compare.h"
#include "tools/graph_source.h"

namespace renga {

struct ValuesOptions {
  std::vector<int32_t> ids;  // empty: random ones
  int64_t tokens = 9;        // how many random ones; fewer where the graphs take no more
  uint64_t seed = 1;         // of random ids and weights
  std::optional<double> rtol;
  int threads = 0;  // 0: all cores
};

struct ValuesReport {
  TraceComparison comparison;
  std::vector<int32_t> ids;
  std::string weights;  // "random, F32, seed 1", "a: x.gguf, b: y.gguf"
  std::string tokens;   // "9 random ids below 512"
};

// Both sides with their own weights, or with random ones where either has none: F32 then, the same
// for equal names, whatever types the graphs say. Differences beyond the tolerance are confirmed by
// replay (ir/trace/confirm.h). InvalidArgument for ids outside a vocabulary, for graphs that are no
// models' steps, for graphs too large for random weights.
absl::StatusOr<ValuesReport> CompareValues(const GraphSource& a, const GraphSource& b,
                                           const ValuesOptions& options);

// What was run, then as TraceComparisonText.
std::string ValuesReportText(const ValuesReport& report);

}  // namespace renga
