// dump --stage ir, passes, ledger: the graph and what was done to it.
#include <algorithm>

#include "absl/strings/str_format.h"
#include "ir/base/status.h"
#include "ir/text/print.h"
#include "tools/renga/dump_input.h"

namespace renga {
namespace {

Json TypeJson(const TensorType& type) { return ToString(type); }

Json LayerJson(int layer) { return layer < 0 ? Json(nullptr) : Json(layer); }

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
    json.push_back({{"name", graph.value(id).name}, {"type", TypeJson(graph.value(id).type)}});
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

Json GraphJson(const DumpFlags& flags, const Graph& graph) {
  Json symbols = Json::array(), nodes = Json::array(), returns = Json::array();
  for (const SymbolDef& symbol : graph.symbols) {
    symbols.push_back({{"name", symbol.name}, {"min", symbol.min}, {"max", symbol.max}});
  }
  for (const Node& node : graph.nodes) {
    const std::string_view name = NodeName(graph, node);
    if (flags.Keeps(name, LayerOf(name), node.provenance)) nodes.push_back(NodeJson(graph, node));
  }
  for (const ValueId id : graph.returns) returns.push_back(RefText(graph.value(id)));
  return {{"name", graph.name},
          {"symbols", std::move(symbols)},
          {"params", ValuesJson(graph, graph.params)},
          {"weights", ValuesJson(graph, graph.weights)},
          {"caches", ValuesJson(graph, graph.caches)},
          {"nodes", std::move(nodes)},
          {"returns", std::move(returns)}};
}

// The pass records and ledger of any kind of file.
struct History {
  std::vector<plan::PassRecord> passes;
  std::vector<plan::LedgerEntry> ledger;
};

absl::StatusOr<History> HistoryOf(const DumpFlags& flags, FileKind kind) {
  if (kind == FileKind::kIr) {
    RENGA_ASSIGN_OR_RETURN(DumpedGraph dumped, GraphOf(flags, kind, /*all_passes=*/true));
    return History{std::move(dumped.passes), std::move(dumped.ledger)};
  }
  RENGA_ASSIGN_OR_RETURN(const OpenedPlan opened, PlanOf(flags, kind));
  return History{opened.plan->passes, opened.plan->ledger};
}

std::string_view ResultText(plan::LedgerResult result) {
  return result == plan::LedgerResult::kMatched ? "matched" : "rejected";
}

}  // namespace

absl::StatusOr<std::string> DumpIr(const DumpFlags& flags, FileKind kind) {
  RENGA_ASSIGN_OR_RETURN(const DumpedGraph dumped, GraphOf(flags, kind, /*all_passes=*/false));
  const Graph& graph = dumped.graph;
  if (flags.json) return JsonText(GraphJson(flags, graph));
  if (!flags.filtered()) return Print(graph);
  std::string text;
  for (const Node& node : graph.nodes) {
    const std::string_view name = NodeName(graph, node);
    if (!flags.Keeps(name, LayerOf(name), node.provenance)) continue;
    StrAppend(&text, "  ", PrintNode(graph, node), "\n");
  }
  return text;
}

absl::StatusOr<std::string> DumpPasses(const DumpFlags& flags, FileKind kind) {
  RENGA_ASSIGN_OR_RETURN(const History history, HistoryOf(flags, kind));
  if (flags.json) {
    Json passes = Json::array();
    for (const plan::PassRecord& pass : history.passes) {
      passes.push_back({{"name", pass.name},
                        {"changed", pass.changed},
                        {"nodes_before", pass.nodes_before},
                        {"nodes_after", pass.nodes_after},
                        {"ms", pass.milliseconds}});
    }
    return JsonText({{"passes", std::move(passes)}});
  }
  size_t width = 4;
  for (const plan::PassRecord& pass : history.passes) width = std::max(width, pass.name.size());
  std::string text;
  for (const plan::PassRecord& pass : history.passes) {
    StrAppend(&text,
              absl::StrFormat("%-*s  %-9s  %6d -> %6d nodes  %8.3f ms\n", static_cast<int>(width),
                              pass.name, pass.changed ? "changed" : "unchanged", pass.nodes_before,
                              pass.nodes_after, pass.milliseconds));
  }
  return text;
}

absl::StatusOr<std::string> DumpLedger(const DumpFlags& flags, FileKind kind) {
  RENGA_ASSIGN_OR_RETURN(const History history, HistoryOf(flags, kind));
  Json entries = Json::array();
  std::string text;
  size_t node_width = 4, pass_width = 4;
  for (const plan::LedgerEntry& entry : history.ledger) {
    node_width = std::max(node_width, entry.node.size());
    pass_width = std::max(pass_width, entry.pass.size());
  }
  for (const plan::LedgerEntry& entry : history.ledger) {
    if (!flags.Keeps(entry.node, entry.layer, {})) continue;
    const std::string_view result = ResultText(entry.result);
    if (flags.json) {
      entries.push_back({{"pass", entry.pass},
                         {"node", entry.node},
                         {"layer", LayerJson(entry.layer)},
                         {"result", std::string(result)},
                         {"reason", entry.reason}});
    } else {
      StrAppend(&text, absl::StrFormat("%-*s  %-8s  %-*s  %s\n", static_cast<int>(node_width),
                                       entry.node, ToAbsl(result), static_cast<int>(pass_width),
                                       entry.pass, entry.reason));
    }
  }
  return flags.json ? JsonText({{"entries", std::move(entries)}}) : text;
}

}  // namespace renga
