// Who reads a value.
#pragma once

#include <vector>

#include "ir/core/graph.h"

namespace renga {

// For every value the nodes (indices) that have it as an operand, in order, each once.
std::vector<std::vector<int>> ReadersOf(const Graph& graph);

}  // namespace renga
