// Lining up regions: the unmatched nodes between lined-up values and lined-up users. A fusion that
// recorded no provenance leaves such a region in both graphs, with the same inputs and users.
#include <algorithm>
#include <iterator>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "ir/diff/matchers.h"
#include "ir/diff/union_find.h"

namespace renga {
namespace {

// A fusion has few nodes on one side and not many on the other; what is larger are two graphs that
// have little in common, and one match of it would hide more than it says.
constexpr size_t kMaxFewer = 4;
constexpr size_t kMaxMore = 64;

struct Region {
  NodeMatch nodes;
  std::vector<uint64_t> inputs[2];  // by side: keys of the lined-up values read, sorted, once each
  // By side: keys of the lined-up places that read it. That the graph returns it counts only where
  // nothing reads it: what else is returned may differ, and does not make it another region.
  std::vector<uint64_t> users[2];
};

bool HasFusionSize(const NodeMatch& nodes) {
  return !nodes.a.empty() && !nodes.b.empty() &&
         std::min(nodes.a.size(), nodes.b.size()) <= kMaxFewer &&
         std::max(nodes.a.size(), nodes.b.size()) <= kMaxMore;
}

void SortOnce(std::vector<uint64_t>* keys) {
  std::sort(keys->begin(), keys->end());
  keys->erase(std::unique(keys->begin(), keys->end()), keys->end());
}

void AddBoundary(const LineUp& line_up, const LineUpSide& side, const std::vector<int>& nodes,
                 std::vector<uint64_t>* inputs, std::vector<uint64_t>* users) {
  bool returned = false;
  for (const int n : nodes) {
    const Node& node = side.graph.nodes[n];
    for (const ValueId id : node.operands) {
      if (id == kNoValue) continue;
      if (const uint64_t key = line_up.ValueKey(side, id); key != 0) inputs->push_back(key);
    }
    for (const ValueId id : node.results) {
      for (const ValueUse& use : side.UsesOf(id)) {
        if (use.node < 0) {
          returned = true;
        } else if (side.match_of[use.node] >= 0) {
          users->push_back(MixPrint(MixPrint(29, side.match_of[use.node]), use.slot));
        }
      }
    }
  }
  if (users->empty() && returned) users->push_back(MixPrint(23, 0));
  SortOnce(inputs);
  SortOnce(users);
}

bool Overlap(const std::vector<uint64_t>& x, const std::vector<uint64_t>& y) {
  std::vector<uint64_t> both;
  std::set_intersection(x.begin(), x.end(), y.begin(), y.end(), std::back_inserter(both));
  return !both.empty() && 2 * both.size() >= std::min(x.size(), y.size());
}

std::vector<std::pair<std::string_view, int>> OpsOf(const LineUpSide& side,
                                                    const std::vector<int>& nodes) {
  std::vector<std::pair<std::string_view, int>> ops;
  for (const int n : nodes) ops.emplace_back(side.graph.nodes[n].op->name, n);
  std::sort(ops.begin(), ops.end());
  return ops;
}

// The keys of the lined-up places that read the node; empty where something else reads it too.
std::vector<uint64_t> ExitKeys(const LineUp& line_up, const LineUpSide& side, int n) {
  std::vector<uint64_t> inputs, users;
  for (const ValueId id : side.graph.nodes[n].results) {
    for (const ValueUse& use : side.UsesOf(id)) {
      if (use.node >= 0 && side.match_of[use.node] < 0) return {};
    }
  }
  AddBoundary(line_up, side, {n}, &inputs, &users);
  return users;
}

// The keys of all it reads, operand by operand; empty where something is not lined up.
std::vector<uint64_t> EntryKeys(const LineUp& line_up, const LineUpSide& side, int n) {
  std::vector<uint64_t> keys;
  for (const ValueId id : side.graph.nodes[n].operands) {
    keys.push_back(line_up.ValueKey(side, id));
    if (keys.back() == 0) return {};
  }
  return keys;
}

// Lines up one node of each side that have the same operator and the same keys; false where there
// are none.
bool Peel(std::vector<uint64_t> (*keys)(const LineUp&, const LineUpSide&, int), NodeMatch* nodes,
          LineUp* line_up) {
  for (size_t i = nodes->a.size(); i-- > 0;) {
    const int na = nodes->a[i];
    const std::vector<uint64_t> keys_a = keys(*line_up, line_up->a, na);
    if (keys_a.empty()) continue;
    for (size_t j = nodes->b.size(); j-- > 0;) {
      const int nb = nodes->b[j];
      if (line_up->a.op_print[na] != line_up->b.op_print[nb]) continue;
      if (keys(*line_up, line_up->b, nb) != keys_a) continue;
      line_up->Pair(na, nb, MatchBy::kStructure);
      nodes->a.erase(nodes->a.begin() + i);
      nodes->b.erase(nodes->b.begin() + j);
      return true;
    }
  }
  return false;
}

// A node at either end of both sides that differs in name and attributes at most is no part of what
// became of the others: it is lined up by itself, and so on inwards. Something is left of both
// sides.
void PeelEnds(NodeMatch* nodes, LineUp* line_up) {
  while (nodes->a.size() > 1 && nodes->b.size() > 1) {
    if (!Peel(ExitKeys, nodes, line_up) && !Peel(EntryKeys, nodes, line_up)) return;
  }
}

// One match of the region; where both sides have the same operators, one match a node.
void Accept(Region region, MatchBy by, LineUp* line_up) {
  const auto ops_a = OpsOf(line_up->a, region.nodes.a);
  const auto ops_b = OpsOf(line_up->b, region.nodes.b);
  const bool same_ops = std::equal(ops_a.begin(), ops_a.end(), ops_b.begin(), ops_b.end(),
                                   [](const auto& x, const auto& y) { return x.first == y.first; });
  if (!same_ops) {
    PeelEnds(&region.nodes, line_up);
    line_up->Join(std::move(region.nodes.a), std::move(region.nodes.b), by);
    return;
  }
  for (size_t i = 0; i < ops_a.size(); ++i) line_up->Pair(ops_a[i].second, ops_b[i].second, by);
}

// Unmatched nodes of the same name on both sides, by node of a and by node of b; -1. Their
// operators differ, or MatchByName had taken them: the name says that the values are the same
// though computed in another way.
struct Aligned {
  std::vector<int> of_a;
  std::vector<int> of_b;
};

Aligned AlignNames(const LineUp& line_up, bool ignore_names) {
  Aligned aligned{std::vector<int>(line_up.a.nodes(), -1), std::vector<int>(line_up.b.nodes(), -1)};
  if (ignore_names) return aligned;
  std::unordered_map<std::string_view, int> by_name;
  for (int n = 0; n < line_up.a.nodes(); ++n) {
    if (line_up.a.match_of[n] < 0) by_name.emplace(line_up.a.name(n), n);
  }
  for (int n = 0; n < line_up.b.nodes(); ++n) {
    if (line_up.b.match_of[n] >= 0) continue;
    const auto found = by_name.find(line_up.b.name(n));
    if (found == by_name.end()) continue;
    aligned.of_a[found->second] = n;
    aligned.of_b[n] = found->second;
  }
  return aligned;
}

// Whether the node's results get anywhere: returned, read by a lined-up node, known by name, or
// read by a node that gets anywhere.
std::vector<bool> LeadsOn(const LineUpSide& side, const std::vector<int>& aligned) {
  std::vector<bool> leads(side.nodes(), false);
  for (int n = side.nodes() - 1; n >= 0; --n) {
    leads[n] = side.match_of[n] >= 0 || aligned[n] >= 0;
    for (const ValueId id : side.graph.nodes[n].results) {
      for (const ValueUse& use : side.UsesOf(id)) {
        if (use.node < 0 || leads[use.node]) leads[n] = true;
      }
    }
  }
  return leads;
}

// Unmatched nodes that feed one another belong together, unless the value between them is known to
// both graphs by its name, or goes to a dead end.
void ConnectSide(const LineUpSide& side, const std::vector<int>& aligned, int offset,
                 UnionFind* sets) {
  const std::vector<bool> leads_on = LeadsOn(side, aligned);
  for (int n = 0; n < side.nodes(); ++n) {
    if (side.match_of[n] >= 0 || !leads_on[n]) continue;
    for (const ValueId id : side.graph.nodes[n].operands) {
      if (id == kNoValue) continue;
      const int producer = side.producer[id];
      if (producer < 0 || side.match_of[producer] >= 0 || aligned[producer] >= 0) continue;
      sets->Unite(offset + producer, offset + n);
    }
  }
}

std::vector<Region> FindRegions(const LineUp& line_up, const Aligned& aligned) {
  const int count_a = line_up.a.nodes(), count_b = line_up.b.nodes();
  UnionFind sets(count_a + count_b);  // a's nodes, then b's
  ConnectSide(line_up.a, aligned.of_a, 0, &sets);
  ConnectSide(line_up.b, aligned.of_b, count_a, &sets);
  for (int n = 0; n < count_a; ++n) {
    if (aligned.of_a[n] >= 0) sets.Unite(n, count_a + aligned.of_a[n]);
  }
  std::vector<int> region_of(count_a + count_b, -1);
  std::vector<Region> regions;
  const auto region = [&](int member) -> Region& {
    int& index = region_of[sets.Find(member)];
    if (index < 0) {
      index = static_cast<int>(regions.size());
      regions.emplace_back();
    }
    return regions[index];
  };
  for (int n = 0; n < count_a; ++n) {
    if (line_up.a.match_of[n] < 0) region(n).nodes.a.push_back(n);
  }
  for (int n = 0; n < count_b; ++n) {
    if (line_up.b.match_of[n] < 0) region(count_a + n).nodes.b.push_back(n);
  }
  for (Region& r : regions) {
    AddBoundary(line_up, line_up.a, r.nodes.a, &r.inputs[0], &r.users[0]);
    AddBoundary(line_up, line_up.b, r.nodes.b, &r.inputs[1], &r.users[1]);
  }
  return regions;
}

uint64_t KeysPrint(const std::vector<uint64_t>& keys) {
  uint64_t print = keys.size();
  for (const uint64_t key : keys) print = MixPrint(print, key);
  return print;
}

// Regions of one side each with the same users; `with_inputs` those with the same inputs too, else
// those with some of them. Something must read them: dead ends have no far side to compare.
void PairRegions(bool with_inputs, std::vector<Region>* regions, LineUp* line_up) {
  std::unordered_map<uint64_t, std::pair<std::vector<int>, std::vector<int>>> buckets;
  std::vector<uint64_t> keys;  // in the order of the regions, so that the outcome is the same
  for (size_t i = 0; i < regions->size(); ++i) {
    const Region& region = (*regions)[i];
    if (region.nodes.a.empty() == region.nodes.b.empty()) continue;  // taken, or of both sides
    const int side = region.nodes.a.empty() ? 1 : 0;
    if (region.users[side].empty()) continue;
    uint64_t key = KeysPrint(region.users[side]);
    if (with_inputs) key = MixPrint(key, KeysPrint(region.inputs[side]));
    auto& bucket = buckets[key];
    if (bucket.first.empty() && bucket.second.empty()) keys.push_back(key);
    (side == 0 ? bucket.first : bucket.second).push_back(static_cast<int>(i));
  }
  for (const uint64_t key : keys) {
    const auto& [of_a, of_b] = buckets[key];
    if (of_a.size() != 1 || of_b.size() != 1) continue;
    Region& region_a = (*regions)[of_a[0]];
    Region& region_b = (*regions)[of_b[0]];
    if (!with_inputs && !Overlap(region_a.inputs[0], region_b.inputs[1])) continue;
    Region joined;
    joined.nodes = {region_a.nodes.a, region_b.nodes.b, MatchBy::kStructure};
    if (!HasFusionSize(joined.nodes)) continue;
    region_a.nodes = region_b.nodes = {};
    Accept(std::move(joined), MatchBy::kStructure, line_up);
  }
}

}  // namespace

void MatchRegions(LineUp* line_up, bool ignore_names) {
  const Aligned aligned = AlignNames(*line_up, ignore_names);
  std::vector<Region> regions = FindRegions(*line_up, aligned);
  for (Region& region : regions) {
    if (region.nodes.a.empty() || region.nodes.b.empty()) continue;
    const bool single = region.nodes.a.size() == 1 && region.nodes.b.size() == 1;
    if (single || (HasFusionSize(region.nodes) && Overlap(region.inputs[0], region.inputs[1]))) {
      Accept(std::move(region), single ? MatchBy::kName : MatchBy::kStructure, line_up);
    } else {
      for (const int n : region.nodes.a) {
        if (aligned.of_a[n] >= 0) line_up->Pair(n, aligned.of_a[n], MatchBy::kName);
      }
    }
    region.nodes = {};
  }
  PairRegions(/*with_inputs=*/true, &regions, line_up);
  PairRegions(/*with_inputs=*/false, &regions, line_up);
}

}  // namespace renga
