#include "passes/core/readers.h"

namespace renga {

std::vector<std::vector<int>> ReadersOf(const Graph& graph) {
  std::vector<std::vector<int>> readers(graph.values.size());
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const int node = static_cast<int>(n);
    for (const ValueId id : graph.nodes[n].operands) {
      if (id == kNoValue) continue;
      if (readers[id].empty() || readers[id].back() != node) readers[id].push_back(node);
    }
  }
  return readers;
}

}  // namespace renga
