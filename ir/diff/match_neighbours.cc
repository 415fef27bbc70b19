// Lining up by neighbours, and what is left over by place: the steps that guess, each taken only
// after everything certain is known.
#include <algorithm>
#include <deque>
#include <tuple>
#include <utility>
#include <vector>

#include "ir/diff/matchers.h"

namespace renga {
namespace {

// Unmatched users of a value with what has to agree: operator, operand place and, if `strict`,
// attributes. Sorted by it.
std::vector<std::pair<uint64_t, int>> OpenUsers(const LineUpSide& side, ValueId id, bool strict) {
  std::vector<std::pair<uint64_t, int>> open;
  for (const ValueUse& use : side.UsesOf(id)) {
    if (use.node < 0 || side.match_of[use.node] >= 0) continue;
    const uint64_t print = strict ? side.local_print[use.node] : side.op_print[use.node];
    open.emplace_back(MixPrint(print, use.slot), use.node);
  }
  std::sort(open.begin(), open.end());
  return open;
}

class Neighbours {
 public:
  explicit Neighbours(LineUp* line_up) : line_up_(*line_up) {
    for (size_t m = 0; m < line_up_.matches.size(); ++m) Enqueue(static_cast<int>(m));
  }

  void Run() {
    while (!queue_.empty()) {
      const int match = queue_.front();
      queue_.pop_front();
      if (!line_up_.IsSingle(match)) continue;
      const int na = line_up_.matches[match].a[0], nb = line_up_.matches[match].b[0];
      const Node& a = line_up_.a.graph.nodes[na];
      const Node& b = line_up_.b.graph.nodes[nb];
      if (a.op == b.op) MatchOperands(a, b);
      for (size_t r = 0; r < std::min(a.results.size(), b.results.size()); ++r) {
        for (const bool strict : {true, false}) MatchUsers(a.results[r], b.results[r], strict);
      }
    }
  }

 private:
  void Enqueue(int match) { queue_.push_back(match); }

  void Pair(int na, int nb) {
    Enqueue(static_cast<int>(line_up_.matches.size()));
    line_up_.Pair(na, nb, MatchBy::kStructure);
  }

  void MatchOperands(const Node& a, const Node& b) {
    for (size_t slot = 0; slot < a.operands.size(); ++slot) {
      if (a.operands[slot] == kNoValue || b.operands[slot] == kNoValue) continue;
      const int pa = line_up_.a.producer[a.operands[slot]];
      const int pb = line_up_.b.producer[b.operands[slot]];
      if (pa < 0 || pb < 0) continue;
      if (line_up_.a.match_of[pa] >= 0 || line_up_.b.match_of[pb] >= 0) continue;
      if (line_up_.a.op_print[pa] == line_up_.b.op_print[pb]) Pair(pa, pb);
    }
  }

  // In order where several look the same, but only as many as the other side has too.
  void MatchUsers(ValueId id_a, ValueId id_b, bool strict) {
    const auto open_a = OpenUsers(line_up_.a, id_a, strict);
    if (open_a.empty()) return;
    const auto open_b = OpenUsers(line_up_.b, id_b, strict);
    for (size_t i = 0, j = 0; i < open_a.size() && j < open_b.size();) {
      if (open_a[i].first != open_b[j].first) {
        ++(open_a[i].first < open_b[j].first ? i : j);
        continue;
      }
      // A node may read the value twice, and so have met its match a moment ago.
      const int na = open_a[i++].second, nb = open_b[j++].second;
      if (line_up_.a.match_of[na] < 0 && line_up_.b.match_of[nb] < 0) Pair(na, nb);
    }
  }

  LineUp& line_up_;
  std::deque<int> queue_;
};

// Merges `extra` of one side into a match of one node each.
void Absorb(LineUpSide* side, std::vector<int>* nodes, int extra, int match) {
  side->match_of[extra] = match;
  nodes->push_back(extra);
  std::sort(nodes->begin(), nodes->end());
}

// The match that took over node `n` of `side`: a node before it whose partner reads what both read
// and whose users are theirs. -1 where there is none.
int AbsorberOf(const LineUp& line_up, const LineUpSide& side, const LineUpSide& other, int n) {
  const Node& node = side.graph.nodes[n];
  if (node.results.size() != 1 || side.UsesOf(node.results[0]).empty()) return -1;
  for (const ValueId from : node.operands) {
    const int before = from == kNoValue ? -1 : side.producer[from];
    const int match = before < 0 ? -1 : side.match_of[before];
    if (match < 0 || !line_up.IsSingle(match)) continue;
    const NodeMatch& pair = line_up.matches[match];
    const int partner = &other == &line_up.b ? pair.b[0] : pair.a[0];
    const Node& taker = other.graph.nodes[partner];
    const auto reads = [&](const LineUpSide& s, const Node& reader, uint64_t key) {
      return std::any_of(reader.operands.begin(), reader.operands.end(), [&](ValueId id) {
        return id != kNoValue && line_up.ValueKey(s, id) == key;
      });
    };
    // It gained what the vanished node read besides.
    bool gained = false, all = true;
    for (const ValueId id : node.operands) {
      if (id == kNoValue || id == from) continue;
      const uint64_t key = line_up.ValueKey(side, id);
      all = all && key != 0 && reads(other, taker, key);
      gained = gained || !reads(side, side.graph.nodes[before], key);
    }
    if (!all || !gained) continue;
    const auto uses = side.UsesOf(node.results[0]);
    const bool users_agree = std::all_of(uses.begin(), uses.end(), [&](const ValueUse& use) {
      ValueId read = kNoValue;
      if (use.node < 0) {
        if (use.slot < static_cast<int>(other.graph.returns.size())) {
          read = other.graph.returns[use.slot];
        }
      } else if (const int user = side.match_of[use.node]; user >= 0 && line_up.IsSingle(user)) {
        const NodeMatch& users = line_up.matches[user];
        const Node& reader = other.graph.nodes[&other == &line_up.b ? users.b[0] : users.a[0]];
        if (use.slot < static_cast<int>(reader.operands.size())) read = reader.operands[use.slot];
      }
      return read != kNoValue && other.producer[read] == partner;
    });
    if (users_agree) return match;
  }
  return -1;
}

}  // namespace

void MatchNeighbours(LineUp* line_up) { Neighbours(line_up).Run(); }

void MatchAbsorbed(LineUp* line_up) {
  for (int n = 0; n < line_up->a.nodes(); ++n) {
    if (line_up->a.match_of[n] >= 0) continue;
    const int match = AbsorberOf(*line_up, line_up->a, line_up->b, n);
    if (match >= 0) Absorb(&line_up->a, &line_up->matches[match].a, n, match);
  }
  for (int n = 0; n < line_up->b.nodes(); ++n) {
    if (line_up->b.match_of[n] >= 0) continue;
    const int match = AbsorberOf(*line_up, line_up->b, line_up->a, n);
    if (match >= 0) Absorb(&line_up->b, &line_up->matches[match].b, n, match);
  }
}

void MatchLeavesByUse(LineUp* line_up) {
  for (size_t m = 0; m < line_up->matches.size(); ++m) {
    if (!line_up->IsSingle(static_cast<int>(m))) continue;
    const Node& a = line_up->a.graph.nodes[line_up->matches[m].a[0]];
    const Node& b = line_up->b.graph.nodes[line_up->matches[m].b[0]];
    if (a.op != b.op) continue;
    for (size_t slot = 0; slot < a.operands.size(); ++slot) {
      const ValueId va = a.operands[slot], vb = b.operands[slot];
      if (va == kNoValue || vb == kNoValue) continue;
      if (line_up->a.producer[va] >= 0 || line_up->b.producer[vb] >= 0) continue;
      if (line_up->a.leaf_pair[va] >= 0 || line_up->b.leaf_pair[vb] >= 0) continue;
      if (line_up->a.graph.value(va).kind != line_up->b.graph.value(vb).kind) continue;
      line_up->PairLeaves(va, vb);
    }
  }
}

void FinishMatches(LineUp* line_up) {
  LineUpSide& a = line_up->a;
  LineUpSide& b = line_up->b;
  for (int n = 0; n < b.nodes(); ++n) {
    if (b.match_of[n] >= 0) continue;
    b.match_of[n] = static_cast<int>(line_up->matches.size());
    line_up->matches.push_back({{}, {n}, MatchBy::kName});
  }
  // By b; what a alone has follows the match of the node before it.
  struct Place {
    int of_b;
    bool only_a;
    int of_a;
    int match;
  };
  std::vector<Place> places;
  for (size_t m = 0; m < line_up->matches.size(); ++m) {
    places.push_back({line_up->matches[m].b.back(), false, -1, static_cast<int>(m)});
  }
  int before = -1;
  for (int n = 0; n < a.nodes(); ++n) {
    if (a.match_of[n] >= 0) {
      before = line_up->matches[a.match_of[n]].b.back();
      continue;
    }
    places.push_back({before, true, n, static_cast<int>(line_up->matches.size())});
    line_up->matches.push_back({{n}, {}, MatchBy::kName});
  }
  std::sort(places.begin(), places.end(), [](const Place& x, const Place& y) {
    return std::tie(x.of_b, x.only_a, x.of_a) < std::tie(y.of_b, y.only_a, y.of_a);
  });
  std::vector<NodeMatch> sorted;
  sorted.reserve(places.size());
  for (const Place& place : places) {
    const NodeMatch& match = line_up->matches[place.match];
    for (const int n : match.a) a.match_of[n] = static_cast<int>(sorted.size());
    for (const int n : match.b) b.match_of[n] = static_cast<int>(sorted.size());
    sorted.push_back(match);
  }
  line_up->matches = std::move(sorted);
}

}  // namespace renga
