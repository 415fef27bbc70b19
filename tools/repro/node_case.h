// A part of a graph with the numbers that went into it, on its own: what is left of a model when
// everything but one wrong node is taken away.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ir/core/eval.h"
#include "ir/core/graph.h"
#include "ir/reference/interpreter.h"
#include "ir/trace/replay.h"

namespace renga {

struct NodeCase {
  Graph graph;                     // verified; packed weights replaced by what they are made of
  SymbolValues symbols;            // of those that the graph has
  std::vector<HostTensor> params;  // one per parameter
  std::vector<HostTensor> caches;  // one per cache, as it is before
};

// The nodes that compute `results` from recorded values and caches. Of those, `recorded` says what
// they hold (nullopt: not there, so the node that makes it belongs to the part; `results` are not
// looked up), and `symbols` the sizes that their shapes do not give. All caches that the part
// writes are returned, behind `results`. InvalidArgument where a parameter or cache is not there.
absl::StatusOr<NodeCase> CutOut(const Graph& graph, const std::vector<ValueId>& results,
                                const RecordedValue& recorded, const SymbolValues& symbols);

// What the interpreter makes of it, one tensor per return. Errors as the interpreter's.
absl::StatusOr<std::vector<HostTensor>> Evaluate(const NodeCase& part, const WeightBytes& weights,
                                                 int threads);

}  // namespace renga
