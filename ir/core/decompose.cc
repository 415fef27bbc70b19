#include "ir/core/decompose.h"

#include <string>
#include <utility>

#include "ir/base/status.h"

namespace renga {

// Sets up a call and runs it.
class Decomposer {
 public:
  Decomposer(const OpDef& op, const AttrMap& attrs, bool typed) : op_(op), call_(attrs) {
    call_.typed_ = typed;
    call_.parts_.graph.name = std::string(op.name);
  }

  // `value` null: the operand is absent.
  void AddOperand(const Value* value) {
    Decomposition& parts = call_.parts_;
    if (value == nullptr) {
      parts.operands.push_back(kNoValue);
      return;
    }
    const ValueKind kind = value->kind == ValueKind::kResult ? ValueKind::kParam : value->kind;
    const std::string_view name = op_.operands[parts.operands.size()].name;
    parts.operands.push_back(parts.graph.AddValue(std::string(name), value->type, kind));
  }

  absl::StatusOr<Decomposition> Run() {
    op_.decompose(call_);
    RENGA_RETURN_IF_ERROR(call_.status_);
    if (call_.parts_.graph.returns.size() != static_cast<size_t>(op_.results)) {
      return absl::InternalError(StrCat("decompose: expected ", op_.results, " results, got ",
                                        call_.parts_.graph.returns.size()));
    }
    return std::move(call_.parts_);
  }

 private:
  const OpDef& op_;
  DecomposeCall call_;
};

AttrMap DecomposeCall::Attrs(std::initializer_list<std::string_view> names) const {
  AttrMap chosen;
  for (std::string_view name : names) {
    const auto found = attrs_.find(name);
    if (found != attrs_.end()) chosen.insert(*found);
  }
  return chosen;
}

AttrMap DecomposeCall::Renamed(std::string_view from, std::string_view to) const {
  const auto found = attrs_.find(from);
  if (found == attrs_.end()) return {};
  return {{std::string(to), found->second}};
}

ValueId DecomposeCall::Op(std::string_view op, std::string_view role, std::vector<ValueId> operands,
                          AttrMap attrs) {
  if (!status_.ok()) return kNoValue;
  const OpDef* const def = FindOp(op);
  if (def == nullptr || def->evaluate == nullptr || def->results != 1) {
    status_ = absl::InternalError(
        StrCat("decompose: expected a primitive operator with one result, got ", op));
    return kNoValue;
  }
  TensorType type;
  if (typed_) {
    absl::StatusOr<std::vector<TensorType>> types = InferTypes(parts_.graph, *def, operands, attrs);
    if (!types.ok()) {
      status_ = types.status();
      return kNoValue;
    }
    type = std::move(types->front());
  }
  const ValueId result =
      parts_.graph.AddValue(std::string(role), std::move(type), ValueKind::kResult);
  parts_.graph.nodes.push_back({def, std::move(operands), {result}, std::move(attrs), {}});
  return result;
}

absl::StatusOr<Decomposition> Decompose(const Graph& graph, const OpDef& op,
                                        const std::vector<ValueId>& operands,
                                        const AttrMap& attrs) {
  Decomposer decomposer(op, attrs, /*typed=*/true);
  for (ValueId id : operands) decomposer.AddOperand(id == kNoValue ? nullptr : &graph.value(id));
  return decomposer.Run();
}

std::vector<std::vector<bool>> OperandChoices(const OpDef& op) {
  std::vector<std::vector<bool>> all = {std::vector<bool>(op.operands.size(), true)};
  for (size_t i = 0; i < op.operands.size(); ++i) {
    const OperandDef& operand = op.operands[i];
    if (!operand.optional) continue;
    const auto in_group = [&](size_t other) {
      return other == i || (!operand.group.empty() && op.operands[other].group == operand.group);
    };
    size_t first = 0;
    while (!in_group(first)) ++first;
    if (first != i) continue;  // its group has been chosen already
    const size_t before = all.size();
    for (size_t c = 0; c < before; ++c) {
      std::vector<bool> without = all[c];
      for (size_t other = i; other < without.size(); ++other) {
        if (in_group(other)) without[other] = false;
      }
      all.push_back(std::move(without));
    }
  }
  return all;
}

absl::StatusOr<Decomposition> DecompositionPattern(const OpDef& op,
                                                   const std::vector<bool>& present) {
  AttrMap attrs;
  for (const AttrDef& def : op.attrs) attrs[std::string(def.name)] = StrCat("$", def.name);
  Decomposer decomposer(op, attrs, /*typed=*/false);
  for (size_t i = 0; i < op.operands.size(); ++i) {
    const Value value = {"", {}, op.operands[i].weight ? ValueKind::kWeight : ValueKind::kParam};
    decomposer.AddOperand(present[i] ? &value : nullptr);
  }
  return decomposer.Run();
}

}  // namespace renga
