#include "ir/core/graph.h"

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "ir/base/status.h"
#include "ir/core/decompose.h"
#include "ir/core/infer.h"

namespace renga {
namespace {

// A name that the text form can hold without quotes. "//" would start a comment.
bool IsBareName(std::string_view name) {
  if (name.empty() || name.find("//") != std::string_view::npos) return false;
  for (char c : name) {
    if (!absl::ascii_isalnum(c) && c != '.' && c != '_' && c != '/' && c != '-') return false;
  }
  return true;
}

bool IsValid(const Graph& graph, ValueId id) {
  return id >= 0 && static_cast<size_t>(id) < graph.values.size();
}

absl::Status CheckOperands(const Graph& graph, const OpDef& op,
                           const std::vector<ValueId>& operands) {
  if (operands.size() != op.operands.size()) {
    return absl::InvalidArgumentError(
        StrCat("operands: expected ", op.operands.size(), " entries, got ", operands.size()));
  }
  for (size_t i = 0; i < operands.size(); ++i) {
    const OperandDef& def = op.operands[i];
    const std::string_view kind = def.weight ? "a weight (@name)" : "a value";
    if (operands[i] == kNoValue) {
      if (def.optional) continue;
      return absl::InvalidArgumentError(
          StrCat("operand ", def.name, ": expected ", kind, ", got none"));
    }
    if (!IsValid(graph, operands[i])) {
      return absl::InvalidArgumentError(StrCat("operand ", def.name, ": expected ", kind,
                                               ", got the undefined id ", operands[i]));
    }
    const Value& value = graph.value(operands[i]);
    if (def.weight && value.kind != ValueKind::kWeight) {
      return absl::InvalidArgumentError(
          StrCat("operand ", def.name, ": expected ", kind, ", got ", RefText(value)));
    }
  }
  for (size_t i = 0; i < operands.size(); ++i) {
    const OperandDef& def = op.operands[i];
    if (def.group.empty() || operands[i] != kNoValue) continue;
    for (size_t j = 0; j < operands.size(); ++j) {
      if (op.operands[j].group != def.group || operands[j] == kNoValue) continue;
      return absl::InvalidArgumentError(StrCat("operand ", def.name, ": expected one, as there is ",
                                               op.operands[j].name, ", got none"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckAttrs(const OpDef& op, const AttrMap& attrs) {
  for (const AttrDef& def : op.attrs) {
    const auto found = attrs.find(def.name);
    if (found == attrs.end()) {
      if (!def.required) continue;
      return absl::InvalidArgumentError(
          StrCat("attribute ", def.name, ": expected ", ToString(def.type), ", got none"));
    }
    if (TypeOf(found->second) != def.type) {
      return absl::InvalidArgumentError(
          StrCat("attribute ", def.name, ": expected ", ToString(def.type), ", got ",
                 ToString(TypeOf(found->second)), " ", ToString(found->second)));
    }
  }
  for (const auto& [name, value] : attrs) {
    bool known = false;
    for (const AttrDef& def : op.attrs) known = known || def.name == name;
    if (known) continue;
    std::vector<std::string_view> names;
    for (const AttrDef& def : op.attrs) names.push_back(def.name);
    return absl::InvalidArgumentError(
        StrCat("attribute ", absl::CHexEscape(name), ": expected ",
               names.empty() ? "no attributes" : StrCat("only ", StrJoin(names, ", ")), ", got ",
               ToString(value)));
  }
  return absl::OkStatus();
}

}  // namespace

const SymbolDef* Graph::FindSymbol(std::string_view symbol) const {
  for (const SymbolDef& def : symbols) {
    if (def.name == symbol) return &def;
  }
  return nullptr;
}

ValueId Graph::AddValue(std::string value_name, TensorType type, ValueKind kind) {
  const ValueId id = static_cast<ValueId>(values.size());
  values.push_back({std::move(value_name), std::move(type), kind});
  if (kind == ValueKind::kParam) params.push_back(id);
  if (kind == ValueKind::kWeight) weights.push_back(id);
  if (kind == ValueKind::kCache) caches.push_back(id);
  return id;
}

ValueId Graph::AddPacked(std::string value_name, ValueId source, std::string layout) {
  const ValueId id = AddValue(std::move(value_name), values[source].type, ValueKind::kWeight);
  values[id].source = source;
  values[id].layout = std::move(layout);
  return id;
}

ValueId Graph::FindValue(std::string_view value_name, bool weight) const {
  for (size_t i = 0; i < values.size(); ++i) {
    if ((values[i].kind == ValueKind::kWeight) == weight && values[i].name == value_name) {
      return static_cast<ValueId>(i);
    }
  }
  return kNoValue;
}

std::string RefText(const Value& value) {
  const char* sigil = value.kind == ValueKind::kWeight ? "@" : "%";
  if (IsBareName(value.name)) return StrCat(sigil, value.name);
  return StrCat(sigil, "\"", absl::CHexEscape(value.name), "\"");
}

std::string_view NodeName(const Graph& graph, const Node& node) {
  if (node.results.empty() || !IsValid(graph, node.results[0])) return "";
  return graph.value(node.results[0]).name;
}

int LayerOf(std::string_view name) {
  const size_t dot = name.find('.');
  // Six digits: no model has more layers, and the number cannot overflow.
  if (dot == 0 || dot == std::string_view::npos || dot > 6) return -1;
  int layer = 0;
  for (char c : name.substr(0, dot)) {
    if (!absl::ascii_isdigit(c)) return -1;
    layer = layer * 10 + (c - '0');
  }
  return layer;
}

Uses ComputeUses(const Graph& graph) {
  Uses uses;
  uses.count.assign(graph.values.size(), 0);
  uses.producer.assign(graph.values.size(), -1);
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    for (ValueId id : graph.nodes[n].operands) {
      if (IsValid(graph, id)) ++uses.count[id];
    }
    for (ValueId id : graph.nodes[n].results) {
      if (IsValid(graph, id)) uses.producer[id] = static_cast<int>(n);
    }
  }
  for (ValueId id : graph.returns) {
    if (IsValid(graph, id)) ++uses.count[id];
  }
  return uses;
}

absl::Status CheckMeaning(const OpDef& op) {
  const bool primitive = op.infer != nullptr && op.evaluate != nullptr;
  const bool neither = op.infer == nullptr && op.evaluate == nullptr;
  if (op.fused() ? neither : primitive) return absl::OkStatus();
  return absl::InternalError(
      StrCat("operator ", op.name, ": expected infer and evaluate, or decompose alone, got",
             op.infer != nullptr ? " infer" : "", op.evaluate != nullptr ? " evaluate" : "",
             op.fused() ? " decompose" : "", neither && !op.fused() ? " none of them" : ""));
}

absl::StatusOr<std::vector<TensorType>> InferTypes(const Graph& graph, const OpDef& op,
                                                   const std::vector<ValueId>& operands,
                                                   const AttrMap& attrs) {
  RENGA_RETURN_IF_ERROR(Annotate(CheckOperands(graph, op, operands), op.name));
  RENGA_RETURN_IF_ERROR(Annotate(CheckAttrs(op, attrs), op.name));
  if (op.fused()) {
    const absl::StatusOr<Decomposition> parts = Decompose(graph, op, operands, attrs);
    if (!parts.ok()) return Annotate(parts.status(), op.name);
    std::vector<TensorType> types;
    for (ValueId id : parts->graph.returns) types.push_back(parts->graph.value(id).type);
    return types;
  }
  std::vector<const TensorType*> types(operands.size(), nullptr);
  for (size_t i = 0; i < operands.size(); ++i) {
    if (operands[i] != kNoValue) types[i] = &graph.value(operands[i]).type;
  }
  absl::StatusOr<std::vector<TensorType>> inferred =
      op.infer(InferCall(op, std::move(types), attrs));
  if (!inferred.ok()) return Annotate(inferred.status(), op.name);
  if (inferred->size() != static_cast<size_t>(op.results)) {
    return absl::InternalError(
        StrCat(op.name, ": infer: expected ", op.results, " result types, got ", inferred->size()));
  }
  return inferred;
}

void Compact(Graph& graph) {
  std::vector<bool> keep(graph.values.size(), false);
  const auto mark = [&](const std::vector<ValueId>& ids) {
    for (ValueId id : ids) {
      if (IsValid(graph, id)) keep[id] = true;
    }
  };
  mark(graph.params);
  mark(graph.weights);
  mark(graph.caches);
  mark(graph.returns);
  for (const Node& node : graph.nodes) {
    mark(node.operands);
    mark(node.results);
  }
  for (ValueId id : graph.weights) {
    if (IsValid(graph, id)) mark({graph.value(id).source});
  }

  std::vector<ValueId> renamed(graph.values.size(), kNoValue);
  std::vector<Value> values;
  for (size_t i = 0; i < graph.values.size(); ++i) {
    if (!keep[i]) continue;
    renamed[i] = static_cast<ValueId>(values.size());
    values.push_back(std::move(graph.values[i]));
  }
  const auto rename = [&](std::vector<ValueId>& ids) {
    for (ValueId& id : ids) {
      if (id >= 0 && static_cast<size_t>(id) < renamed.size()) id = renamed[id];
    }
  };
  rename(graph.params);
  rename(graph.weights);
  rename(graph.caches);
  rename(graph.returns);
  for (Node& node : graph.nodes) {
    rename(node.operands);
    rename(node.results);
  }
  for (Value& value : values) {
    if (value.source >= 0 && static_cast<size_t>(value.source) < renamed.size()) {
      value.source = renamed[value.source];
    }
  }
  graph.values = std::move(values);
}

void RemovePacking(Graph& graph) {
  const auto source_of = [&](ValueId id) {
    return IsValid(graph, id) && graph.value(id).packed() ? graph.value(id).source : id;
  };
  for (Node& node : graph.nodes) {
    for (ValueId& id : node.operands) id = source_of(id);
  }
  for (ValueId& id : graph.returns) id = source_of(id);
  std::erase_if(graph.weights, [&](ValueId id) { return source_of(id) != id; });
  Compact(graph);
}

}  // namespace renga
