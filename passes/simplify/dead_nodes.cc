#include "passes/simplify/dead_nodes.h"

#include <algorithm>
#include <vector>

namespace renga {

absl::StatusOr<bool> RemoveDeadNodes(Graph& graph, Ledger& ledger) {
  std::vector<bool> used(graph.values.size(), false);
  for (ValueId id : graph.returns) used[id] = true;

  // Users come after producers, so that one walk from the end sees every user first.
  std::vector<Node> kept;
  std::vector<const Node*> dead;
  for (auto node = graph.nodes.rbegin(); node != graph.nodes.rend(); ++node) {
    const bool live = std::any_of(node->results.begin(), node->results.end(),
                                  [&](ValueId id) { return used[id]; });
    if (!live) {
      dead.push_back(&*node);
      continue;
    }
    for (ValueId id : node->operands) {
      if (id != kNoValue) used[id] = true;
    }
  }
  if (dead.empty()) return false;

  for (auto node = dead.rbegin(); node != dead.rend(); ++node) {
    ledger.Matched(NodeName(graph, **node), "no result is used");
  }
  for (Node& node : graph.nodes) {
    const bool live =
        std::any_of(node.results.begin(), node.results.end(), [&](ValueId id) { return used[id]; });
    if (live) kept.push_back(std::move(node));
  }
  graph.nodes = std::move(kept);
  return true;
}

}  // namespace renga
