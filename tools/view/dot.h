// A graph as Graphviz text.
#pragma once

#include <functional>
#include <string>

#include "ir/core/graph.h"

namespace renga {

// `digraph` with one cluster per layer, one box per node (name, operator with attributes, result
// types) and one shape each for weights, caches and parameters. With `keep`, only the nodes it
// keeps; values that come from the others stand as plain text. Any bytes in names are escaped.
// Linear in nodes and edges.
std::string GraphDot(const Graph& graph, const std::function<bool(const Node&)>& keep = {});

}  // namespace renga
