#include "passes/core/fuse.h"

#include <algorithm>
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
  node.results = match.results;
  node.attrs = match.attrs;
  for (int part : match.nodes) {
    for (std::string& source : ProvenanceOf(graph, graph.nodes[part])) {
      node.provenance.push_back(std::move(source));
    }
  }
  return node;
}

std::string Replaced(const Graph& graph, const Node& fused, const Match& match) {
  std::vector<std::string> names;
  for (int part : match.nodes) {
    const ValueId result = graph.nodes[part].results[0];
    if (result != fused.results[0]) names.push_back(RefText(graph.value(result)));
  }
  return StrCat(fused.op->name, " takes in ", StrJoin(names, ", "), SegmentsText(graph, fused));
}

std::string CountText(size_t count) {
  constexpr std::string_view kWords[] = {"no", "one", "two", "three"};
  return count < std::size(kWords) ? std::string(kWords[count]) : StrCat(count);
}

}  // namespace

std::string SegmentsText(const Graph& graph, const Node& node) {
  std::vector<std::pair<DType, std::vector<std::string_view>>> segments;  // in operand order
  for (size_t i = 0; i < node.operands.size(); ++i) {
    if (!node.op->operands[i].weight || node.operands[i] == kNoValue) continue;
    const DType type = graph.value(node.operands[i]).type.dtype;
    auto segment = std::find_if(segments.begin(), segments.end(),
                                [&](const auto& known) { return known.first == type; });
    if (segment == segments.end()) segment = segments.insert(segments.end(), {type, {}});
    segment->second.push_back(node.op->operands[i].name);
  }
  if (segments.size() < 2) return "";
  std::vector<std::string> texts;
  for (const auto& [type, names] : segments) {
    texts.push_back(
        StrCat(StrJoin(names, " and "), names.size() == 1 ? " is " : " are ", Name(type)));
  }
  return StrCat(" (", StrJoin(texts, ", "), ": ", CountText(segments.size()), " weight segments)");
}

absl::StatusOr<bool> FuseInto(std::string_view op_name, Graph& graph, Ledger& ledger,
                              absl::Span<const std::string_view> without) {
  const OpDef* const op = FindOp(op_name);
  if (op == nullptr) {
    return absl::InternalError(StrCat("fuse: expected an operator, got ", op_name));
  }
  RENGA_ASSIGN_OR_RETURN(Matcher matcher, Matcher::Create(graph, *op, without));
  std::vector<int> taken_by(graph.nodes.size(), -1);  // index into `fused`
  std::vector<std::pair<int, Node>> fused;            // with the index that the node takes
  for (int i = 0; i < static_cast<int>(graph.nodes.size()); ++i) {
    if (!matcher.IsCandidate(i)) continue;
    std::string why;
    const std::optional<Match> match = matcher.At(i, &why);
    if (!match.has_value()) {
      ledger.Rejected(NodeName(graph, graph.nodes[i]), std::move(why));
      continue;
    }
    Node node = FusedNode(graph, *op, *match);
    if (!ledger.Allows(NodeName(graph, node))) continue;
    ledger.Matched(NodeName(graph, node), Replaced(graph, node, *match));
    matcher.Use(*match);
    for (int part : match->nodes) taken_by[part] = static_cast<int>(fused.size());
    fused.emplace_back(match->nodes.back(), std::move(node));
  }
  if (fused.empty()) return false;

  std::vector<Node> nodes;
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    if (taken_by[i] < 0) {
      nodes.push_back(std::move(graph.nodes[i]));
    } else if (auto& [place, node] = fused[taken_by[i]]; place == static_cast<int>(i)) {
      nodes.push_back(std::move(node));
    }
  }
  graph.nodes = std::move(nodes);
  return true;
}

}  // namespace renga
