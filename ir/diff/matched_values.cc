// Which values of two graphs can be compared number by number.
#include <string_view>
#include <unordered_map>

#include "ir/diff/graph_diff.h"

namespace renga {
namespace {

using ValuePairs = std::vector<std::pair<ValueId, ValueId>>;

void AddLeaves(const Graph& a, const std::vector<ValueId>& ids_a, const Graph& b,
               const std::vector<ValueId>& ids_b, ValuePairs* pairs) {
  std::unordered_map<std::string_view, ValueId> by_name;
  for (const ValueId id : ids_a) by_name.emplace(a.value(id).name, id);
  for (const ValueId id : ids_b) {
    const auto found = by_name.find(b.value(id).name);
    if (found != by_name.end()) pairs->emplace_back(found->second, id);
  }
}

// Element types may differ, a comparison of numbers can bridge that; sizes may not.
bool SameShape(const Graph& a, ValueId id_a, const Graph& b, ValueId id_b) {
  return a.value(id_a).type.shape == b.value(id_b).type.shape;
}

}  // namespace

std::vector<std::pair<ValueId, ValueId>> MatchedValues(const Graph& a, const Graph& b,
                                                       const GraphDiff& diff) {
  ValuePairs pairs;
  AddLeaves(a, a.params, b, b.params, &pairs);
  AddLeaves(a, a.weights, b, b.weights, &pairs);
  AddLeaves(a, a.caches, b, b.caches, &pairs);

  std::vector<ValueId> partner_of_b(b.values.size(), kNoValue);
  std::vector<bool> taken_a(a.values.size(), false);
  const auto pair = [&](ValueId id_a, ValueId id_b) {
    if (taken_a[id_a] || partner_of_b[id_b] != kNoValue) return;
    if (!SameShape(a, id_a, b, id_b)) return;
    taken_a[id_a] = true;
    partner_of_b[id_b] = id_a;
  };
  const auto named = [](const Graph& graph, const std::vector<int>& nodes) {
    std::unordered_map<std::string_view, ValueId> by_name;
    for (const int n : nodes) {
      for (const ValueId id : graph.nodes[n].results) by_name.emplace(graph.value(id).name, id);
    }
    return by_name;
  };
  for (const NodeMatch& match : diff.matches) {
    if (match.a.empty() || match.b.empty()) continue;
    const Node& last_a = a.nodes[match.a.back()];
    const Node& last_b = b.nodes[match.b.back()];
    if (match.a.size() == 1 && match.b.size() == 1) {
      for (size_t r = 0; r < std::min(last_a.results.size(), last_b.results.size()); ++r) {
        pair(last_a.results[r], last_b.results[r]);
      }
      continue;
    }
    // A pass keeps the name of a value it still computes; else the last value is what all of them
    // were for.
    const auto names = named(a, match.a);
    for (const int n : match.b) {
      for (const ValueId id : b.nodes[n].results) {
        const auto found = names.find(b.value(id).name);
        if (found != names.end()) pair(found->second, id);
      }
    }
    pair(last_a.results[0], last_b.results[0]);
  }
  // Nodes that changed places around a value leave it computed by another node under its old name.
  std::unordered_map<std::string_view, ValueId> left;
  for (const Node& node : a.nodes) {
    for (const ValueId id : node.results) {
      if (!taken_a[id]) left.emplace(a.value(id).name, id);
    }
  }
  for (const Node& node : b.nodes) {
    for (const ValueId id : node.results) {
      const auto found = left.find(b.value(id).name);
      if (found != left.end() && a.value(found->second).type == b.value(id).type) {
        pair(found->second, id);
      }
      if (partner_of_b[id] != kNoValue) pairs.emplace_back(partner_of_b[id], id);
    }
  }
  return pairs;
}

}  // namespace renga
