// Fused operators: what they mean is written as the primitive nodes they stand for. From that one
// text follow the result types, the reference evaluation, the pattern that the fusing pass looks
// for (passes/core/match.h) and the test that both are equal.
#pragma once

#include <initializer_list>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ir/core/attr.h"
#include "ir/core/graph.h"

namespace renga {

// The primitive nodes of one fused node. `graph` has its operands as inputs, under the names the
// operator gives them, and its results as returns; symbols are those of the graph around it.
struct Decomposition {
  Graph graph;
  std::vector<ValueId> operands;  // in `graph`, one per operand of the operator; kNoValue: absent
};

// What an operator's `decompose` sees. It must write the same nodes for all types and attribute
// values: only the presence of optional operands may decide.
class DecomposeCall {
 public:
  bool has(int operand) const { return parts_.operands[operand] != kNoValue; }
  ValueId in(int operand) const { return parts_.operands[operand]; }  // kNoValue when absent

  // The fused node's attributes of these names, for one of its parts.
  AttrMap Attrs(std::initializer_list<std::string_view> names) const;

  // The fused node's attribute `from`, under the name that the part has for it.
  AttrMap Renamed(std::string_view from, std::string_view to) const;

  // Adds a node by the primitive operator `op` and returns its one result, named `role`. After an
  // error it adds nothing more.
  ValueId Op(std::string_view op, std::string_view role, std::vector<ValueId> operands,
             AttrMap attrs = {});

  // The next result of the fused operator.
  void Return(ValueId value) { parts_.graph.returns.push_back(value); }

 private:
  friend class Decomposer;
  explicit DecomposeCall(const AttrMap& attrs) : attrs_(attrs) {}

  const AttrMap& attrs_;
  bool typed_ = true;
  Decomposition parts_;
  absl::Status status_;
};

// The primitive nodes for a node of `op` in `graph`, whose presence and kinds of operands and
// attributes have been checked (InferTypes). Errors are those of the parts' type inference.
absl::StatusOr<Decomposition> Decompose(const Graph& graph, const OpDef& op,
                                        const std::vector<ValueId>& operands, const AttrMap& attrs);

// Every choice of the optional operands of `op`, those with most of them first: one entry per
// operand, true where it is there.
std::vector<std::vector<bool>> OperandChoices(const OpDef& op);

// The same nodes with everything left open: types are empty, and every attribute that a part takes
// from the fused node is the name "$<attribute>". `present` says for each operand whether it is
// there.
absl::StatusOr<Decomposition> DecompositionPattern(const OpDef& op,
                                                   const std::vector<bool>& present);

}  // namespace renga
