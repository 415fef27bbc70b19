// Mixtures of experts on GPUs (codegen/kernels/experts.cuh).
#include <algorithm>

#include "codegen/emit/cuda_families.h"
#include "codegen/emit/cuda_source.h"
#include "ir/base/mma_layout.h"
#include "ir/base/status.h"

namespace renga::codegen {
namespace {

constexpr int64_t kThreads = 128;

// "static constexpr int kHeads = 4, kWidth = 8;"
std::string IntConfig(std::initializer_list<std::pair<std::string_view, int64_t>> values) {
  std::vector<std::string> parts;
  for (const auto& [name, value] : values) parts.push_back(StrCat(name, " = ", value));
  return StrCat("static constexpr int ", StrJoin(parts, ", "), ";");
}

CudaKernel ExpertKernel(std::string_view call, std::string_view args, std::string_view detail,
                        std::vector<std::string> config) {
  return {.header = "experts",
          .call = StrCat(call, "<Config>"),
          .args = std::string(args),
          .detail = std::string(detail),
          .config = std::move(config),
          .threads = kThreads};
}

}  // namespace

absl::Status EmitCudaRoute(const Node& node, std::string_view kernel, PlanBuilder& builder) {
  RENGA_ASSIGN_OR_RETURN(CudaStep step, CudaStep::Create(node, kernel, node.results[0], builder));
  RENGA_RETURN_IF_ERROR(step.RequireF32({"scores"}));
  RENGA_ASSIGN_OR_RETURN(const int64_t experts, step.ConstSize("scores", 1));
  step.Launch({
      .kernel = ExpertKernel("Route", "RouteArgs", "moe_route",
                             {IntConfig({{"kExperts", experts}, {"kUsed", step.Int("used")}}),
                              StrCat("static constexpr bool kNormalise = ",
                                     step.Bool("normalise") ? "true" : "false", ";")}),
      .grid_x = step.rows(),
      .args = {Pointer("scores", step.operand("scores")), Pointer("experts", step.result(0)),
               Pointer("weights", step.result(1))},
  });
  step.EndVariant(step.max_rows(), "a thread a token: experts are few");
  return absl::OkStatus();
}

absl::Status EmitCudaExpertLinear(const Node& node, std::string_view kernel, PlanBuilder& builder) {
  RENGA_ASSIGN_OR_RETURN(CudaStep step, CudaStep::Create(node, kernel, node.results[0], builder));
  RENGA_RETURN_IF_ERROR(step.RequireF32({"x"}));
  const DType type = step.type("weight").dtype;
  if (!HasMmaLayout(type) || !step.value("weight").layout.empty()) {
    return absl::UnimplementedError(
        StrCat(RefText(step.value("weight")), ": type ", Name(type),
               " has no kernel for experts; supported: ", ProductTypeNames(),
               " in the file's layout; or use "
               "--target cpu, which has all types"));
  }
  RENGA_ASSIGN_OR_RETURN(const int64_t experts, step.ConstSize("weight", 0));
  RENGA_ASSIGN_OR_RETURN(const int64_t rows, step.ConstSize("weight", 1));
  RENGA_ASSIGN_OR_RETURN(const int64_t k, step.ConstSize("weight", 2));
  RENGA_ASSIGN_OR_RETURN(const int64_t used, step.ConstSize("experts", 1));
  constexpr int64_t kWarps = kThreads / 32;
  step.Launch({
      .kernel = ExpertKernel("ExpertLinear", "ExpertLinearArgs",
                             StrCat("expert_linear_", ShapeName(type, rows, k)),
                             {StrCat("using File = ", FileText(type), ";"),
                              IntConfig({{"kExperts", experts}, {"kRows", rows}, {"kK", k}}),
                              IntConfig({{"kUsed", used}, {"kWarps", kWarps}}),
                              StrCat("static constexpr bool kPerExpert = ",
                                     step.type("x").rank() == 3 ? "true" : "false", ";")}),
      .grid_x = plan::Constant(CeilDiv(rows, kWarps)),
      .grid_y = plan::Constant(used),
      .grid_z = step.rows(),
      .args = {Pointer("x", step.operand("x")), Pointer("weight", step.operand("weight")),
               Pointer("experts", step.operand("experts")), Pointer("y", step.result(0))},
  });
  step.EndVariant(step.max_rows(), "a warp a value");
  return absl::OkStatus();
}

absl::Status EmitCudaExpertSum(const Node& node, std::string_view kernel, PlanBuilder& builder) {
  RENGA_ASSIGN_OR_RETURN(CudaStep step, CudaStep::Create(node, kernel, node.results[0], builder));
  RENGA_RETURN_IF_ERROR(step.RequireF32({"x", "weights"}));
  RENGA_ASSIGN_OR_RETURN(const int64_t used, step.ConstSize("x", 1));
  RENGA_ASSIGN_OR_RETURN(const int64_t width, step.ConstSize("x", 2));
  step.Launch({
      .kernel =
          ExpertKernel("ExpertSum", "ExpertSumArgs", "expert_sum",
                       {IntConfig({{"kUsed", used}, {"kWidth", width}, {"kThreads", kThreads}})}),
      .grid_x = step.rows(),
      .args = {Pointer("x", step.operand("x")), Pointer("weights", step.operand("weights")),
               Pointer("y", step.result(0))},
  });
  step.EndVariant(step.max_rows(), "a block a token");
  return absl::OkStatus();
}

}  // namespace renga::codegen
