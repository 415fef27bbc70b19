#include "passes/core/fuse.h"

#include <string>
#include <utility>
#include <vector>

#include "ir/base/status.h"
#include "passes/core/match.h"
#include "passes/core/provenance.h"

namespace renga {
namespace {

Node FusedNode(const Graph& graph, const OpDef& op, const Match& match) {
  Node node;
  node.op = &op;
  node.operands = match.operands;
  node.results = graph.nodes[match.nodes.back()].results;
  node.attrs = match.attrs;
  for (int part : match.nodes) {
    for (std::string& source : ProvenanceOf(graph, graph.nodes[part])) {
      node.provenance.push_back(std::move(source));
    }
  }
  return node;
}

std::string Replaced(const Graph& graph, const OpDef& op, const Match& match) {
  std::vector<std::string> names;
  for (int part : match.nodes) {
    if (part != match.nodes.back())
      names.push_back(RefText(graph.value(graph.nodes[part].results[0])));
  }
  return StrCat(op.name, " takes in ", StrJoin(names, ", "));
}

}  // namespace

absl::StatusOr<bool> FuseInto(std::string_view op_name, Graph& graph, Ledger& ledger) {
  const OpDef* const op = FindOp(op_name);
  if (op == nullptr) {
    return absl::InternalError(StrCat("fuse: expected an operator, got ", op_name));
  }
  RENGA_ASSIGN_OR_RETURN(const Matcher matcher, Matcher::Create(graph, *op));
  std::vector<std::pair<int, Node>> fused;  // by the index that the node takes
  std::vector<bool> taken(graph.nodes.size(), false);
  for (int i = 0; i < static_cast<int>(graph.nodes.size()); ++i) {
    if (graph.nodes[i].op != matcher.root()) continue;
    const std::string_view name = NodeName(graph, graph.nodes[i]);
    std::string why;
    const std::optional<Match> match = matcher.At(i, &why);
    if (!match.has_value()) {
      ledger.Rejected(name, std::move(why));
      continue;
    }
    ledger.Matched(name, Replaced(graph, *op, *match));
    fused.emplace_back(i, FusedNode(graph, *op, *match));
    for (int part : match->nodes) taken[part] = true;
  }
  if (fused.empty()) return false;

  std::vector<Node> nodes;
  auto next = fused.begin();
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    if (next != fused.end() && next->first == static_cast<int>(i)) {
      nodes.push_back(std::move((next++)->second));
    } else if (!taken[i]) {
      nodes.push_back(std::move(graph.nodes[i]));
    }
  }
  graph.nodes = std::move(nodes);
  return true;
}

}  // namespace renga
