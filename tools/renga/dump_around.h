// The neighbourhood of a node.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ir/core/graph.h"

namespace renga {

struct Neighbourhood {
  int node = -1;           // the one asked for
  std::vector<int> nodes;  // it, what leads to it and what reads it, in execution order
};

// `name` is of one of the node's results, with or without its %, or of a source node that it
// computes. `depth` levels of inputs, and the direct users. NotFound with the nearest names.
absl::StatusOr<Neighbourhood> NodesAround(const Graph& graph, const std::string& name, int depth);

// A line a node, the one asked for marked with "> ".
std::string NeighbourhoodText(const Graph& graph, const Neighbourhood& around);

}  // namespace renga
