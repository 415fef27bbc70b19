// Which nodes of the frontend's graph a node computes, written out.
#pragma once

#include <string>
#include <vector>

#include "ir/core/graph.h"

namespace renga {

// The node's provenance; its own name where it is a node of the frontend's graph itself. For a node
// that is about to lose its name or be merged.
inline std::vector<std::string> ProvenanceOf(const Graph& graph, const Node& node) {
  if (!node.provenance.empty()) return node.provenance;
  return {std::string(NodeName(graph, node))};
}

}  // namespace renga
