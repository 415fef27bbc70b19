#include "ir/text/print.h"

#include "ir/base/strings.h"

namespace renga {
namespace {

// Verify prints broken graphs too, so an id that names no value must not be followed.
std::string Ref(const Graph& graph, ValueId id) {
  if (id >= 0 && static_cast<size_t>(id) < graph.values.size()) return RefText(graph.value(id));
  return StrCat("%<undefined id ", id, ">");
}

// "%x: f32[T,64]"
std::string Declaration(const Graph& graph, ValueId id) {
  if (id < 0 || static_cast<size_t>(id) >= graph.values.size()) return Ref(graph, id);
  return StrCat(RefText(graph.value(id)), ": ", ToString(graph.value(id).type));
}

// " = pack(@w) {layout=rows8}" of a packed weight.
std::string Packing(const Graph& graph, ValueId id) {
  if (id < 0 || static_cast<size_t>(id) >= graph.values.size()) return "";
  const Value& value = graph.value(id);
  if (!value.packed()) return "";
  return StrCat(" = pack(", Ref(graph, value.source), ") {layout=", value.layout, "}");
}

void AppendOperands(const Graph& graph, const Node& node, std::string* out) {
  const std::vector<OperandDef>& defs = node.op->operands;
  std::string_view separator;
  for (size_t i = 0; i < node.operands.size(); ++i) {
    if (i < defs.size() && defs[i].optional) continue;
    StrAppend(out, separator, Ref(graph, node.operands[i]));
    separator = ", ";
  }
  for (size_t i = 0; i < node.operands.size() && i < defs.size(); ++i) {
    if (!defs[i].optional || node.operands[i] == kNoValue) continue;
    StrAppend(out, separator, defs[i].name, "=", Ref(graph, node.operands[i]));
    separator = ", ";
  }
}

void AppendList(const Graph& graph, const std::vector<ValueId>& ids,
                std::string (*text)(const Graph&, ValueId), std::string* out) {
  std::string_view separator;
  for (ValueId id : ids) {
    StrAppend(out, separator, text(graph, id));
    separator = ", ";
  }
}

}  // namespace

std::string PrintNode(const Graph& graph, const Node& node) {
  std::string text;
  AppendList(graph, node.results, Declaration, &text);
  if (node.op == nullptr) return text + " = <no operator>";
  StrAppend(&text, " = ", node.op->name, "(");
  AppendOperands(graph, node, &text);
  text += ")";
  if (!node.attrs.empty()) {
    std::string_view separator = " {";
    for (const auto& [name, value] : node.attrs) {
      StrAppend(&text, separator, name, "=", ToString(value));
      separator = ", ";
    }
    text += "}";
  }
  if (!node.provenance.empty()) {
    std::string_view separator = " from(";
    for (const std::string& source : node.provenance) {
      StrAppend(&text, separator, RefText(Value{source, {}, ValueKind::kResult}));
      separator = ", ";
    }
    text += ")";
  }
  return text;
}

std::string Print(const Graph& graph) {
  std::string text = "ir 1\n";
  for (const SymbolDef& symbol : graph.symbols) {
    StrAppend(&text, "dim ", symbol.name, " = ", symbol.min, "..", symbol.max, "\n");
  }
  for (ValueId id : graph.weights) {
    StrAppend(&text, "weight ", Declaration(graph, id), Packing(graph, id), "\n");
  }
  for (ValueId id : graph.caches) StrAppend(&text, "cache ", Declaration(graph, id), "\n");
  StrAppend(&text, "graph ", RefText(Value{graph.name, {}, ValueKind::kWeight}), "(");
  AppendList(graph, graph.params, Declaration, &text);
  text += ") {\n";
  for (const Node& node : graph.nodes) {
    StrAppend(&text, "  ", PrintNode(graph, node), "\n");
  }
  text += "  return";
  if (!graph.returns.empty()) text += " ";
  AppendList(graph, graph.returns, Ref, &text);
  text += "\n}\n";
  return text;
}

}  // namespace renga
