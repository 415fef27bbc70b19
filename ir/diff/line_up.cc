#include "ir/diff/line_up.h"

#include <bit>
#include <functional>
#include <utility>

namespace renga {

uint64_t MixPrint(uint64_t seed, uint64_t value) {
  // splitmix64's finaliser: every bit of both reaches every bit of the result.
  uint64_t x = seed * 0x9e3779b97f4a7c15 + value + 0x632be59bd9b4e019;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

uint64_t PrintOf(std::string_view text) { return std::hash<std::string_view>{}(text); }

uint64_t PrintOf(const AttrMap& attrs) {
  uint64_t print = attrs.size();
  for (const auto& [name, value] : attrs) {
    uint64_t bits = 0;
    if (const int64_t* i = std::get_if<int64_t>(&value)) bits = static_cast<uint64_t>(*i);
    if (const double* d = std::get_if<double>(&value)) bits = std::bit_cast<uint64_t>(*d);
    if (const bool* t = std::get_if<bool>(&value)) bits = *t ? 1 : 2;
    if (const std::string* s = std::get_if<std::string>(&value)) bits = PrintOf(*s);
    print = MixPrint(MixPrint(print, PrintOf(name)), MixPrint(value.index(), bits));
  }
  return print;
}

bool SameAttr(const AttrValue& a, const AttrValue& b) {
  const double* x = std::get_if<double>(&a);
  const double* y = std::get_if<double>(&b);
  if (x != nullptr && y != nullptr) {
    return *x == *y || std::bit_cast<uint64_t>(*x) == std::bit_cast<uint64_t>(*y);
  }
  return a == b;
}

LineUpSide::LineUpSide(const Graph& g)
    : graph(g),
      producer(g.values.size(), -1),
      result_index(g.values.size(), 0),
      leaf_pair(g.values.size(), -1),
      match_of(g.nodes.size(), -1),
      use_begin(g.values.size() + 1, 0) {
  op_print.reserve(g.nodes.size());
  local_print.reserve(g.nodes.size());
  for (size_t n = 0; n < g.nodes.size(); ++n) {
    const Node& node = g.nodes[n];
    op_print.push_back(PrintOf(node.op->name));
    local_print.push_back(MixPrint(op_print.back(), PrintOf(node.attrs)));
    for (size_t r = 0; r < node.results.size(); ++r) {
      producer[node.results[r]] = static_cast<int>(n);
      result_index[node.results[r]] = static_cast<int>(r);
    }
    for (const ValueId id : node.operands) {
      if (id != kNoValue) ++use_begin[id + 1];
    }
  }
  for (const ValueId id : g.returns) ++use_begin[id + 1];
  for (size_t i = 1; i < use_begin.size(); ++i) use_begin[i] += use_begin[i - 1];
  uses.resize(use_begin.back());
  std::vector<int> next(use_begin.begin(), use_begin.end() - 1);
  for (size_t n = 0; n < g.nodes.size(); ++n) {
    const std::vector<ValueId>& operands = g.nodes[n].operands;
    for (size_t slot = 0; slot < operands.size(); ++slot) {
      if (operands[slot] == kNoValue) continue;
      uses[next[operands[slot]]++] = {static_cast<int>(n), static_cast<int>(slot)};
    }
  }
  for (size_t i = 0; i < g.returns.size(); ++i) {
    uses[next[g.returns[i]]++] = {-1, static_cast<int>(i)};
  }
}

void LineUp::Join(std::vector<int> nodes_a, std::vector<int> nodes_b, MatchBy by) {
  const int match = static_cast<int>(matches.size());
  for (const int n : nodes_a) a.match_of[n] = match;
  for (const int n : nodes_b) b.match_of[n] = match;
  matches.push_back({std::move(nodes_a), std::move(nodes_b), by});
}

void LineUp::PairLeaves(ValueId leaf_a, ValueId leaf_b) {
  a.leaf_pair[leaf_a] = leaf_pairs;
  b.leaf_pair[leaf_b] = leaf_pairs;
  ++leaf_pairs;
}

uint64_t LineUp::ValueKey(const LineUpSide& side, ValueId id) const {
  if (id == kNoValue) return 1;
  const int node = side.producer[id];
  if (node < 0) return side.leaf_pair[id] < 0 ? 0 : MixPrint(2, side.leaf_pair[id]);
  const int match = side.match_of[node];
  if (match < 0) return 0;
  return MixPrint(MixPrint(3, match), IsSingle(match) ? side.result_index[id] + 1 : 0);
}

}  // namespace renga
