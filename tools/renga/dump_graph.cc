// dump --stage ir: the graph.
#include <optional>
#include <vector>

#include "ir/base/status.h"
#include "ir/text/print.h"
#include "tools/renga/dump_around.h"
#include "tools/renga/dump_filter.h"
#include "tools/renga/dump_input.h"
#include "tools/view/dot.h"

namespace renga {
namespace {

constexpr int kAroundDepth = 2;

Json TypeJson(const TensorType& type) { return ToString(type); }

Json AttrsJson(const AttrMap& attrs) {
  Json json = Json::object();
  for (const auto& [name, value] : attrs) {
    std::visit([&json, key = name](const auto& v) { json[key] = v; }, value);
  }
  return json;
}

Json ValuesJson(const Graph& graph, const std::vector<ValueId>& ids) {
  Json json = Json::array();
  for (const ValueId id : ids) {
    const Value& value = graph.value(id);
    json.push_back({{"name", value.name}, {"type", TypeJson(value.type)}});
    if (value.packed()) {
      json.back()["source"] = graph.value(value.source).name;
      json.back()["layout"] = value.layout;
    }
  }
  return json;
}

Json NodeJson(const Graph& graph, const Node& node) {
  Json operands = Json::array();
  for (const ValueId id : node.operands) {
    operands.push_back(id == kNoValue ? Json(nullptr) : Json(RefText(graph.value(id))));
  }
  const std::string name(NodeName(graph, node));
  return {{"name", name},
          {"op", std::string(node.op->name)},
          {"layer", LayerJson(LayerOf(name))},
          {"operands", std::move(operands)},
          {"results", ValuesJson(graph, node.results)},
          {"attrs", AttrsJson(node.attrs)},
          {"provenance", node.provenance}};
}

// By node: whether the filters keep it.
absl::StatusOr<std::vector<bool>> FilteredNodes(const DumpFlags& flags, const Graph& graph) {
  DumpFilter filter(flags, "nodes");
  std::vector<bool> kept;
  for (const Node& node : graph.nodes) {
    const std::string_view name = NodeName(graph, node);
    kept.push_back(filter.Keeps(name, LayerOf(name), node.provenance));
  }
  RENGA_RETURN_IF_ERROR(filter.CheckFound());
  return kept;
}

// Only the nodes that are kept.
Json GraphJson(const Graph& graph, const std::vector<bool>& kept, const Neighbourhood* around) {
  Json symbols = Json::array(), nodes = Json::array(), returns = Json::array();
  for (const SymbolDef& symbol : graph.symbols) {
    symbols.push_back({{"name", symbol.name}, {"min", symbol.min}, {"max", symbol.max}});
  }
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    if (kept[n]) nodes.push_back(NodeJson(graph, graph.nodes[n]));
  }
  for (const ValueId id : graph.returns) returns.push_back(RefText(graph.value(id)));
  Json json = {{"name", graph.name},
               {"symbols", std::move(symbols)},
               {"params", ValuesJson(graph, graph.params)},
               {"weights", ValuesJson(graph, graph.weights)},
               {"caches", ValuesJson(graph, graph.caches)},
               {"nodes", std::move(nodes)},
               {"returns", std::move(returns)}};
  if (around != nullptr) {
    json["around"] = std::string(NodeName(graph, graph.nodes[around->node]));
  }
  return json;
}

}  // namespace

absl::StatusOr<std::string> DumpIr(const DumpFlags& flags, FileKind kind) {
  RENGA_ASSIGN_OR_RETURN(const DumpedGraph dumped, GraphOf(flags, kind, /*all_passes=*/false));
  const Graph& graph = dumped.graph;
  std::optional<Neighbourhood> around;
  std::vector<bool> kept;
  if (flags.around.empty()) {
    RENGA_ASSIGN_OR_RETURN(kept, FilteredNodes(flags, graph));
  } else {
    RENGA_ASSIGN_OR_RETURN(around,
                           NodesAround(graph, flags.around, flags.depth.value_or(kAroundDepth)));
    kept.resize(graph.nodes.size());
    for (const int node : around->nodes) kept[node] = true;
  }
  if (flags.dot) {
    return GraphDot(graph,
                    [&](const Node& node) -> bool { return kept[&node - graph.nodes.data()]; });
  }
  if (flags.json) return JsonText(GraphJson(graph, kept, around ? &*around : nullptr));
  if (around) return NeighbourhoodText(graph, *around);
  if (!flags.filtered()) return Print(graph);
  std::string text;
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    if (kept[n]) StrAppend(&text, "  ", PrintNode(graph, graph.nodes[n]), "\n");
  }
  return text;
}

}  // namespace renga
