// The emitters: one per family of operators that lower alike.
#pragma once

#include <string_view>

#include "absl/status/status.h"
#include "codegen/emit/plan_builder.h"

namespace renga::codegen {

// One step by `kernel`, operands, results and attributes as the node has them. A result that the
// operator declares as an alias of an operand is the operand's buffer, written in place. A trailing
// optional operand that is absent stays an absent operand of the step.
absl::Status EmitKernel(const Node& node, std::string_view kernel, PlanBuilder& builder);

// As EmitKernel, without the attribute `span`, the symbol of the key positions: the result of
// attn_scores has it as its last axis, and the kernel of attention finds it among the positions.
absl::Status EmitScores(const Node& node, std::string_view kernel, PlanBuilder& builder);

// As EmitScores; the kernel is `kernel`, or its variant that reads the caches as they are stored
// where that is the faster one. The choice is noted.
absl::Status EmitAttention(const Node& node, std::string_view kernel, PlanBuilder& builder);

// No step: the result shows the operand's bytes in another shape.
absl::Status EmitView(const Node& node, std::string_view kernel, PlanBuilder& builder);

}  // namespace renga::codegen
