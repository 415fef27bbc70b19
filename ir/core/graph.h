// The graph: a list of nodes in execution order, each with named, typed results. Plain data; the
// rules it must obey are in verify.h, its text form in ir/text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "ir/core/attr.h"
#include "ir/core/op_def.h"
#include "ir/core/type.h"

namespace renga {

// Index into Graph::values. Values are never removed, only left unused (see Compact).
using ValueId = int32_t;
inline constexpr ValueId kNoValue = -1;  // an absent optional operand

// A symbolic size and its bounds, both inclusive.
struct SymbolDef {
  std::string name;
  int64_t min = 1;
  int64_t max = 1;
  friend bool operator==(const SymbolDef&, const SymbolDef&) = default;
};

enum class ValueKind : uint8_t {
  kParam,   // given anew for each run: token ids, positions, page tables
  kWeight,  // a tensor of the model file, constant
  kCache,   // survives from run to run; overwritten only through an aliasing operator
  kResult,  // computed by a node
};

struct Value {
  std::string name;  // without sigil; unique among weights (@) and among the others (%)
  TensorType type;
  ValueKind kind = ValueKind::kResult;
  // A packed weight holds the bytes of another, `source`, in another order: the name of a layout
  // (ir/base/packing.h). Both are unset for every other value.
  ValueId source = kNoValue;
  std::string layout;
  bool packed() const { return source != kNoValue; }
};

struct Node {
  const OpDef* op = nullptr;
  std::vector<ValueId> operands;  // one per op->operands; kNoValue where an optional one is absent
  std::vector<ValueId> results;   // op->results of them
  AttrMap attrs;
  // Nodes of the frontend's graph that this node computes, by the name of their first result. Empty
  // means the node is one of them itself.
  std::vector<std::string> provenance;
};

struct Graph {
  std::string name = "step";
  std::vector<SymbolDef> symbols;
  std::vector<Value> values;
  std::vector<ValueId> params;  // in order
  std::vector<ValueId> weights;
  std::vector<ValueId> caches;
  std::vector<Node> nodes;  // in execution order
  std::vector<ValueId> returns;

  const Value& value(ValueId id) const { return values[id]; }
  const SymbolDef* FindSymbol(std::string_view symbol) const;

  // Adds a value and, unless it is a result, lists it under params, weights or caches.
  ValueId AddValue(std::string value_name, TensorType type, ValueKind kind);

  // Adds a packed weight of the same type as `source`, a weight that is not packed.
  ValueId AddPacked(std::string value_name, ValueId source, std::string layout);

  // Id of the value of that name; weights have a name space of their own. kNoValue when there is
  // none.
  ValueId FindValue(std::string_view value_name, bool weight) const;
};

// "%0.q" or "@blk.0.attn_q.weight"; a name with other characters than [A-Za-z0-9._/-] is quoted.
std::string RefText(const Value& value);

// Name of the node: that of its first result.
std::string_view NodeName(const Graph& graph, const Node& node);

// Layer number that the name starts with ("12.ffn_norm" -> 12), or -1.
int LayerOf(std::string_view name);

// For every value: how many node operands and returns use it, and which node (index) produces it
// (-1).
struct Uses {
  std::vector<int> count;
  std::vector<int> producer;
};
Uses ComputeUses(const Graph& graph);

// Checks operands and attributes against `op` and infers the result types. Errors name op, operand
// or attribute, expected and got.
absl::StatusOr<std::vector<TensorType>> InferTypes(const Graph& graph, const OpDef& op,
                                                   const std::vector<ValueId>& operands,
                                                   const AttrMap& attrs);

// Drops values that nothing refers to; weights, params and caches stay. Ids change.
void Compact(Graph& graph);

// Replaces packed weights by what they were packed from and drops them: the graph for those who
// have other bytes than the model file's. Ids change.
void RemovePacking(Graph& graph);

}  // namespace renga
