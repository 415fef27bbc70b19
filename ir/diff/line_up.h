// Two graphs being lined up: what matching asks about each, and what it found so far. Filled by the
// functions of matchers.h, each of which matches some of the nodes that are still unmatched.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/types/span.h"
#include "ir/core/graph.h"
#include "ir/diff/graph_diff.h"

namespace renga {

// One place that reads a value.
struct ValueUse {
  int node = -1;  // -1: the graph returns it
  int slot = 0;   // operand of the node, or place among the returns
};

// One of the two graphs. Leaves are the values that no node computes: parameters, weights, caches.
struct LineUpSide {
  explicit LineUpSide(const Graph& graph);

  const Graph& graph;
  std::vector<int> producer;          // by value: node; -1 for leaves
  std::vector<int> result_index;      // by value: which result of its producer
  std::vector<int> leaf_pair;         // by value: number of the pair of leaves; -1
  std::vector<int> match_of;          // by node: index into LineUp::matches; -1
  std::vector<uint64_t> op_print;     // by node: hash of the operator
  std::vector<uint64_t> local_print;  // by node: hash of operator and attributes
  std::vector<int> use_begin;         // by value, and one more: where its uses start
  std::vector<ValueUse> uses;

  int nodes() const { return static_cast<int>(graph.nodes.size()); }
  std::string_view name(int node) const { return NodeName(graph, graph.nodes[node]); }
  absl::Span<const ValueUse> UsesOf(ValueId id) const {
    return absl::MakeConstSpan(uses).subspan(use_begin[id], use_begin[id + 1] - use_begin[id]);
  }
};

struct LineUp {
  LineUp(const Graph& a_graph, const Graph& b_graph) : a(a_graph), b(b_graph) {}

  LineUpSide a;
  LineUpSide b;
  std::vector<NodeMatch> matches;
  int leaf_pairs = 0;

  void Pair(int node_a, int node_b, MatchBy by) { Join({node_a}, {node_b}, by); }
  // Both not empty, ascending, all unmatched.
  void Join(std::vector<int> nodes_a, std::vector<int> nodes_b, MatchBy by);
  void PairLeaves(ValueId leaf_a, ValueId leaf_b);
  bool IsSingle(int match) const {
    return matches[match].a.size() == 1 && matches[match].b.size() == 1;
  }

  // Equal for values of both sides that are lined up; 0 for a value that is not yet. Of several
  // nodes that became one or several, all values count as the same: which became which is unknown.
  uint64_t ValueKey(const LineUpSide& side, ValueId id) const;
};

// Hashes that decide which nodes are compared at all; collisions cost a wrong line-up, no more.
uint64_t MixPrint(uint64_t seed, uint64_t value);
uint64_t PrintOf(std::string_view text);
uint64_t PrintOf(const AttrMap& attrs);

// Bits decide, so that nan equals itself.
bool SameAttr(const AttrValue& a, const AttrValue& b);

}  // namespace renga
