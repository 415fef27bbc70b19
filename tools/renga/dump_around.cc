#include "tools/renga/dump_around.h"

#include <algorithm>
#include <set>
#include <string_view>
#include <utility>

#include "ir/base/nearest.h"
#include "ir/base/status.h"
#include "ir/text/print.h"
#include "tools/renga/text.h"

namespace renga {
namespace {

bool Computes(const Graph& graph, const Node& node, std::string_view name) {
  return std::any_of(node.results.begin(), node.results.end(),
                     [&](ValueId id) { return graph.value(id).name == name; });
}

absl::StatusOr<int> FindNode(const Graph& graph, const std::string& asked) {
  std::string_view name = asked;
  if (name.starts_with('%')) name.remove_prefix(1);
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    if (Computes(graph, graph.nodes[n], name)) return static_cast<int>(n);
  }
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const std::vector<std::string>& sources = graph.nodes[n].provenance;
    if (std::find(sources.begin(), sources.end(), name) != sources.end()) {
      return static_cast<int>(n);
    }
  }
  std::vector<std::string_view> names;
  for (const Node& node : graph.nodes) names.push_back(NodeName(graph, node));
  if (names.empty()) return absl::NotFoundError("--around: the graph has no nodes");
  std::vector<std::string> nearest;
  for (const std::string_view candidate : NearestNames(name, names)) {
    nearest.push_back(Quoted(candidate));
  }
  return absl::NotFoundError(
      StrCat("--around: no node ", Quoted(asked), "; did you mean ", StrJoin(nearest, " or ")));
}

}  // namespace

absl::StatusOr<Neighbourhood> NodesAround(const Graph& graph, const std::string& name, int depth) {
  Neighbourhood around;
  RENGA_ASSIGN_OR_RETURN(around.node, FindNode(graph, name));
  const Uses uses = ComputeUses(graph);
  std::set<int> nodes = {around.node};
  std::vector<int> level = {around.node};
  for (int i = 0; i < depth && !level.empty(); ++i) {
    std::vector<int> next;
    for (const int n : level) {
      for (const ValueId id : graph.nodes[n].operands) {
        const int producer = id == kNoValue ? -1 : uses.producer[id];
        if (producer >= 0 && nodes.insert(producer).second) next.push_back(producer);
      }
    }
    level = std::move(next);
  }
  const std::vector<ValueId>& results = graph.nodes[around.node].results;
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const std::vector<ValueId>& operands = graph.nodes[n].operands;
    if (std::find_first_of(operands.begin(), operands.end(), results.begin(), results.end()) !=
        operands.end()) {
      nodes.insert(static_cast<int>(n));
    }
  }
  around.nodes.assign(nodes.begin(), nodes.end());
  return around;
}

std::string NeighbourhoodText(const Graph& graph, const Neighbourhood& around) {
  std::string text;
  for (const int n : around.nodes) {
    StrAppend(&text, n == around.node ? "> " : "  ", PrintNode(graph, graph.nodes[n]), "\n");
  }
  return text;
}

}  // namespace renga
