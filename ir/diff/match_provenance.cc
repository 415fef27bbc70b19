// Lining up by provenance. A node without a list is a source node itself, so its name is its list;
// nodes of both graphs that name the same source are connected, and each connected component that
// has nodes of both sides is one match.
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

}  // namespace

void MatchByProvenance(LineUp* line_up) {
  const LineUpSide& a = line_up->a;
  const LineUpSide& b = line_up->b;
  Sources sources;
  AddSources(a, 0, &sources);
  AddSources(b, 1, &sources);

  UnionFind sets(a.nodes() + b.nodes());  // a's nodes, then b's
  for (auto& [name, source] : sources) {
    // Nobody lists it: same names alone, which MatchByName judges.
    if (source.listed[0].empty() && source.listed[1].empty()) continue;
    for (const int side : {0, 1}) {
      if (source.listed[side].empty() && source.named[side] >= 0) {
        source.listed[side].push_back(source.named[side]);
      }
    }
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
    const bool same_name = component.a.size() == 1 && component.b.size() == 1 &&
                           a.name(component.a[0]) == b.name(component.b[0]);
    line_up->Join(std::move(component.a), std::move(component.b),
                  same_name ? MatchBy::kName : MatchBy::kProvenance);
  }
}

}  // namespace renga
