// The emitters for GPUs: one per family of operators that lower alike. As those of families.h, each
// adds one step.
#pragma once

#include <string_view>

#include "absl/status/status.h"
#include "codegen/emit/cuda_step.h"
#include "codegen/emit/plan_builder.h"

namespace renga::codegen {

// linear, norm_linear and linear_add: operands x, weight, perhaps norm, bias, residual.
absl::Status EmitCudaLinear(const Node& node, std::string_view kernel, PlanBuilder& builder);
absl::Status EmitCudaGateUp(const Node& node, std::string_view kernel, PlanBuilder& builder);
absl::Status EmitCudaHead(const Node& node, std::string_view kernel, PlanBuilder& builder);

absl::Status EmitCudaQkvRope(const Node& node, std::string_view kernel, PlanBuilder& builder);
absl::Status EmitCudaRope(const Node& node, std::string_view kernel, PlanBuilder& builder);
absl::Status EmitCudaKvAppend(const Node& node, std::string_view kernel, PlanBuilder& builder);

absl::Status EmitCudaAttention(const Node& node, std::string_view kernel, PlanBuilder& builder);

absl::Status EmitCudaEmbed(const Node& node, std::string_view kernel, PlanBuilder& builder);
absl::Status EmitCudaGatherRows(const Node& node, std::string_view kernel, PlanBuilder& builder);
absl::Status EmitCudaSlice(const Node& node, std::string_view kernel, PlanBuilder& builder);
absl::Status EmitCudaRmsNorm(const Node& node, std::string_view kernel, PlanBuilder& builder);
absl::Status EmitCudaArgMax(const Node& node, std::string_view kernel, PlanBuilder& builder);
absl::Status EmitCudaAdd(const Node& node, std::string_view kernel, PlanBuilder& builder);
absl::Status EmitCudaGlu(const Node& node, std::string_view kernel, PlanBuilder& builder);

// attention in its parts, and mixtures of experts: plain loops.
absl::Status EmitCudaScores(const Node& node, std::string_view kernel, PlanBuilder& builder);
absl::Status EmitCudaSoftmax(const Node& node, std::string_view kernel, PlanBuilder& builder);
absl::Status EmitCudaValues(const Node& node, std::string_view kernel, PlanBuilder& builder);
absl::Status EmitCudaRoute(const Node& node, std::string_view kernel, PlanBuilder& builder);
absl::Status EmitCudaExpertLinear(const Node& node, std::string_view kernel, PlanBuilder& builder);
absl::Status EmitCudaExpertSum(const Node& node, std::string_view kernel, PlanBuilder& builder);

// A launch that several families need.
CudaLaunch ArgMaxLaunch(const plan::Expr& rows, int64_t width, int32_t x, int32_t y);

}  // namespace renga::codegen
