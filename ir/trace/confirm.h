// Whether a node is at fault, or only its inputs: each value of b that is beyond its tolerance is
// computed again, by b's nodes on what a recorded, and compared with what a made of it.
#pragma once

#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "ir/core/graph.h"
#include "ir/reference/interpreter.h"
#include "ir/trace/compare.h"

namespace renga {

struct ConfirmInputs {
  const Trace& a;
  const Graph& b_graph;
  const std::vector<std::pair<ValueId, ValueId>>& pairs;  // a's and b's values
  const Graph& a_graph;
  const WeightBytes& b_weights;
  int threads = 0;  // 0: all cores
};

// Sets `replayed` and `unexplained` of the values beyond their tolerance, and rewrites
// `comparison->unexplained`: a value is unexplained where its nodes do something else with the same
// inputs, whatever the rule of error_sources.h says. Values that cannot be replayed keep its
// verdict. Costs at most one more run of b.
absl::Status ConfirmByReplay(const ConfirmInputs& inputs, TraceComparison* comparison);

}  // namespace renga
