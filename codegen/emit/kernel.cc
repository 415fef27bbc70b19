#include "codegen/emit/families.h"
#include "ir/base/status.h"

namespace renga::codegen {
namespace {

// Operand whose storage the result takes over; kNoValue when it has its own.
ValueId AliasedOperand(const Node& node, int result) {
  for (const renga::Alias& alias : node.op->aliases) {
    if (alias.result == result) return node.operands[alias.operand];
  }
  return kNoValue;
}

// EmitKernel, leaving out the attribute `dropped`.
absl::Status EmitStep(const Node& node, std::string_view kernel, std::string_view dropped,
                      PlanBuilder& builder) {
  for (size_t i = 0; i < node.results.size(); ++i) {
    if (const ValueId operand = AliasedOperand(node, static_cast<int>(i)); operand != kNoValue) {
      builder.Alias(node.results[i], operand);
      continue;
    }
    RENGA_RETURN_IF_ERROR(builder.AddBuffer(node.results[i], plan::Space::kArena, -1));
  }
  std::vector<plan::Attr> attrs;
  for (const auto& [name, value] : node.attrs) {
    if (name != dropped) attrs.push_back({name, value});
  }
  builder.AddStep(node, kernel, std::move(attrs));
  return absl::OkStatus();
}

}  // namespace

absl::Status EmitKernel(const Node& node, std::string_view kernel, PlanBuilder& builder) {
  return EmitStep(node, kernel, /*dropped=*/"", builder);
}

absl::Status EmitScores(const Node& node, std::string_view kernel, PlanBuilder& builder) {
  return EmitStep(node, kernel, /*dropped=*/"span", builder);
}

}  // namespace renga::codegen
