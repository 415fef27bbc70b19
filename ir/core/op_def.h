// What an operator is: one constant in one file of ir/ops. Builder, printer, parser, verifier, diff
// and the reference interpreter work from it alone; nothing else in the tree lists operators except
// ir/ops/registry.cc.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "ir/core/attr.h"
#include "ir/core/type.h"

namespace renga {

class DecomposeCall;  // ir/core/decompose.h
class EvalCall;       // ir/core/eval.h
class InferCall;      // ir/core/infer.h

struct OperandDef {
  std::string_view name;
  bool weight =
      false;  // must be a weight of the model (@name); otherwise a value (%name) or a weight
  bool optional = false;  // may be absent; printed and parsed as name=operand
  // The operator multiplies activations by this weight's rows and by nothing else of it, so a
  // target may have the weight in a layout of its own (passes/layout/pack_weights.h).
  bool product = false;
  // Optional operands of one group are all there or none is; empty: on its own.
  std::string_view group = {};
};

struct AttrDef {
  std::string_view name;
  AttrType type;
  bool required = true;  // what a model means is never a default: optional only where the
                         // attribute has no meaning (yarn's bounds without yarn)
};

// The result overwrites the operand's storage. The operand must not be used afterwards.
struct Alias {
  int result;
  int operand;
};

struct OpDef {
  std::string_view name;     // snake_case, unique
  std::string_view formula;  // one line of maths
  std::vector<OperandDef> operands;
  std::vector<AttrDef> attrs;
  int results = 1;
  std::vector<Alias> aliases;

  // Row t of every result depends only on row t of each value operand (axis 0). Lets a pass that
  // needs few rows compute only those.
  bool row_wise = false;

  // A primitive operator has `infer` and `evaluate`, a fused one has `decompose` alone.

  // Types of the results from the operands and attributes; errors name operand or attribute,
  // expected and got. Presence and kind of operands and attributes have been checked before.
  absl::StatusOr<std::vector<TensorType>> (*infer)(const InferCall& call) = nullptr;

  // Reference evaluation: plain loops, double accumulators. The meaning of the operator.
  absl::Status (*evaluate)(EvalCall& call) = nullptr;

  // Writes the primitive nodes that mean the same.
  void (*decompose)(DecomposeCall& call) = nullptr;

  // Of a fused operator: the result whose part is looked for first, to find the others around it
  // (passes/core/match.h). The one whose operator is rarest in a model.
  int anchor = 0;

  bool fused() const { return decompose != nullptr; }
};

// Internal error naming what `op` has too much or too little of infer, evaluate and decompose.
absl::Status CheckMeaning(const OpDef& op);

// All operators, sorted by name.
absl::Span<const OpDef* const> AllOps();

// nullptr when there is no such operator.
const OpDef* FindOp(std::string_view name);

}  // namespace renga
