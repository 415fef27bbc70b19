// Lining up by provenance. A node without a list is a source node itself, so its name is its list;
// nodes of both graphs that name the same source are connected, and each connected component that
// has nodes of both sides is one match.
#include <algorithm>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "ir/diff/matchers.h"
#include "ir/diff/union_find.h"

namespace renga {
namespace {

// The nodes that do the work of one source node.
struct Source {
  std::vector<int> listed[2];  // by side: nodes that list it
  int named[2] = {-1, -1};     // by side: the node of that name that has no list
};

using Sources = std::unordered_map<std::string_view, Source>;

void AddSources(const LineUpSide& side, int index, Sources* sources) {
  for (int n = 0; n < side.nodes(); ++n) {
    const std::vector<std::string>& list = side.graph.nodes[n].provenance;
    for (const std::string& name : list) (*sources)[name].listed[index].push_back(n);
    if (list.empty()) (*sources)[side.name(n)].named[index] = n;
  }
}

// By node: the node of the other side with the same name and operator; -1.
struct Namesakes {
  std::vector<int> of[2];
};

Namesakes FindNamesakes(const LineUpSide& a, const LineUpSide& b) {
  Namesakes namesakes{{std::vector<int>(a.nodes(), -1), std::vector<int>(b.nodes(), -1)}};
  std::unordered_map<std::string_view, int> by_name;
  for (int n = 0; n < a.nodes(); ++n) by_name.emplace(a.name(n), n);
  for (int n = 0; n < b.nodes(); ++n) {
    const auto found = by_name.find(b.name(n));
    if (found == by_name.end() || a.graph.nodes[found->second].op != b.graph.nodes[n].op) continue;
    namesakes.of[0][found->second] = n;
    namesakes.of[1][n] = found->second;
  }
  return namesakes;
}

// The nodes of each side that do the work of one source node. A node without a list counts where no
// other of its side lists it, but not against a namesake: where lists were dropped on one side only
// (a text edited by hand), a name stands for the node of that name again.
void SettleNamed(const Namesakes& namesakes, Source* source) {
  for (const int side : {0, 1}) {
    const int named = source->named[side];
    if (!source->listed[side].empty() || named < 0) continue;
    const int namesake = namesakes.of[side][named];
    std::vector<int>& others = source->listed[1 - side];
    if (namesake >= 0) {
      std::erase_if(others, [&](int n) { return n != namesake && namesakes.of[1 - side][n] >= 0; });
    }
    if (!others.empty()) source->listed[side].push_back(named);
    return;  // the other side has listed ones, or this would not be asked
  }
}

}  // namespace

void MatchByProvenance(LineUp* line_up) {
  const LineUpSide& a = line_up->a;
  const LineUpSide& b = line_up->b;
  Sources sources;
  AddSources(a, 0, &sources);
  AddSources(b, 1, &sources);

  const Namesakes namesakes = FindNamesakes(a, b);
  UnionFind sets(a.nodes() + b.nodes());  // a's nodes, then b's
  for (auto& [name, source] : sources) {
    // Nobody lists it: same names alone, which MatchByName judges.
    if (source.listed[0].empty() && source.listed[1].empty()) continue;
    SettleNamed(namesakes, &source);
    if (source.listed[0].empty() || source.listed[1].empty()) continue;
    const int first = source.listed[0].front();
    for (const int n : source.listed[0]) sets.Unite(first, n);
    for (const int n : source.listed[1]) sets.Unite(first, a.nodes() + n);
  }

  std::vector<NodeMatch> components(a.nodes() + b.nodes());
  for (int n = 0; n < a.nodes(); ++n) components[sets.Find(n)].a.push_back(n);
  for (int n = 0; n < b.nodes(); ++n) components[sets.Find(a.nodes() + n)].b.push_back(n);
  for (NodeMatch& component : components) {
    if (component.a.empty() || component.b.empty()) continue;
    // Where all kept their names and operators, whose sources overlap is no matter.
    const bool same = component.a.size() == component.b.size() &&
                      std::all_of(component.a.begin(), component.a.end(), [&](int n) {
                        const int other = namesakes.of[0][n];
                        return other >= 0 && sets.Find(a.nodes() + other) == sets.Find(n);
                      });
    if (same) {
      for (const int n : component.a) line_up->Pair(n, namesakes.of[0][n], MatchBy::kName);
      continue;
    }
    const bool same_name = component.a.size() == 1 && component.b.size() == 1 &&
                           a.name(component.a[0]) == b.name(component.b[0]);
    line_up->Join(std::move(component.a), std::move(component.b),
                  same_name ? MatchBy::kName : MatchBy::kProvenance);
  }
}

}  // namespace renga
