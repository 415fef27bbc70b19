#include "tools/view/graph_data.h"

#include <map>
#include <utility>

#include "ir/base/strings.h"
#include "ir/core/type.h"
#include "ir/text/print.h"

namespace renga::view {
namespace {

// Numbers texts in the order of their first appearance.
class Table {
 public:
  int Index(const std::string& key, Json entry) {
    const auto [it, added] = indices_.try_emplace(key, static_cast<int>(entries_.size()));
    if (added) entries_.push_back(std::move(entry));
    return it->second;
  }
  int Index(const std::string& text) { return Index(text, text); }
  Json Take() { return std::move(entries_); }

 private:
  std::map<std::string, int> indices_;
  Json entries_ = Json::array();
};

Json OpJson(const OpDef& op) {
  Json operands = Json::array();
  for (const OperandDef& operand : op.operands) operands.push_back(std::string(operand.name));
  return {std::string(op.name), std::string(op.formula), std::move(operands)};
}

int AttrsIndex(const AttrMap& attrs, Table* table) {
  std::string key;
  Json list = Json::array();
  for (const auto& [name, value] : attrs) {
    const std::string text = ToString(value);
    StrAppend(&key, name, "=", text, "\n");
    list.push_back(Json::array({name, text}));
  }
  return table->Index(key, std::move(list));
}

int KindIndex(ValueKind kind) { return static_cast<int>(kind); }

}  // namespace

std::string ValueRef(std::string_view name) {
  return RefText(Value{std::string(name), {}, ValueKind::kResult});
}

Json GraphData(const Graph& graph) {
  Table types, ops, attrs;
  Json values = Json::array(), nodes = Json::array(), lines = Json::array();
  Json symbols = Json::array();
  for (const Value& value : graph.values) {
    values.push_back(
        Json::array({RefText(value), types.Index(ToString(value.type)), KindIndex(value.kind)}));
  }
  for (const Node& node : graph.nodes) {
    Json provenance = Json::array();
    for (const std::string& name : node.provenance) provenance.push_back(ValueRef(name));
    nodes.push_back(Json::array({ops.Index(std::string(node.op->name), OpJson(*node.op)),
                                 node.operands, node.results, AttrsIndex(node.attrs, &attrs),
                                 LayerOf(NodeName(graph, node)), std::move(provenance)}));
    lines.push_back(PrintNode(graph, node));
  }
  for (const SymbolDef& symbol : graph.symbols) {
    symbols.push_back(Json::array({symbol.name, symbol.min, symbol.max}));
  }
  return {{"types", types.Take()},         {"ops", ops.Take()},         {"attrs", attrs.Take()},
          {"values", std::move(values)},   {"nodes", std::move(nodes)}, {"lines", std::move(lines)},
          {"symbols", std::move(symbols)}, {"params", graph.params},    {"caches", graph.caches},
          {"returns", graph.returns}};
}

}  // namespace renga::view
