// Lining up by name: leaves, and nodes of the same operator.
#include <string_view>
#include <unordered_map>

#include "ir/diff/matchers.h"

namespace renga {
namespace {

void MatchLeavesOfKind(const std::vector<ValueId>& ids_a, const std::vector<ValueId>& ids_b,
                       LineUp* line_up) {
  std::unordered_map<std::string_view, ValueId> by_name;
  for (const ValueId id : ids_a) by_name.emplace(line_up->a.graph.value(id).name, id);
  for (const ValueId id : ids_b) {
    const auto found = by_name.find(line_up->b.graph.value(id).name);
    if (found != by_name.end()) line_up->PairLeaves(found->second, id);
  }
}

// A packed weight that the other graph has not is, to whoever reads it, what it was packed from: it
// joins that pair.
void MatchPacked(LineUp* line_up) {
  for (LineUpSide* side : {&line_up->a, &line_up->b}) {
    for (const ValueId id : side->graph.weights) {
      const Value& value = side->graph.value(id);
      if (value.packed() && side->leaf_pair[id] < 0) {
        side->leaf_pair[id] = side->leaf_pair[value.source];
      }
    }
  }
}

}  // namespace

void MatchLeaves(LineUp* line_up) {
  const Graph& a = line_up->a.graph;
  const Graph& b = line_up->b.graph;
  MatchLeavesOfKind(a.weights, b.weights, line_up);
  MatchPacked(line_up);
  MatchLeavesOfKind(a.caches, b.caches, line_up);
  MatchLeavesOfKind(a.params, b.params, line_up);
  // Renamed parameters: the order tells them apart as long as the types agree.
  size_t next = 0;
  for (const ValueId id : b.params) {
    if (line_up->b.leaf_pair[id] >= 0) continue;
    while (next < a.params.size() && line_up->a.leaf_pair[a.params[next]] >= 0) ++next;
    if (next == a.params.size()) return;
    if (a.value(a.params[next]).type == b.value(id).type) line_up->PairLeaves(a.params[next], id);
  }
}

void MatchByName(LineUp* line_up) {
  LineUpSide& a = line_up->a;
  LineUpSide& b = line_up->b;
  std::unordered_map<std::string_view, int> by_name;
  for (int n = 0; n < a.nodes(); ++n) {
    if (a.match_of[n] < 0) by_name.emplace(a.name(n), n);
  }
  for (int n = 0; n < b.nodes(); ++n) {
    if (b.match_of[n] >= 0) continue;
    const auto found = by_name.find(b.name(n));
    if (found == by_name.end() || a.match_of[found->second] >= 0) continue;
    if (a.graph.nodes[found->second].op == b.graph.nodes[n].op) {
      line_up->Pair(found->second, n, MatchBy::kName);
    }
  }
}

}  // namespace renga
