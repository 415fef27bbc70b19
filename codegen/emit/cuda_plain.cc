// The operators that fusions usually take away, on GPUs: attention in its parts, slices, mixtures
// of experts (codegen/kernels/plain.cuh).
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

CudaKernel PlainKernel(std::string_view call, std::string_view args, std::string_view detail,
                       std::vector<std::string> config) {
  return {.header = "plain",
          .call = StrCat(call, "<Config>"),
          .args = std::string(args),
          .detail = std::string(detail),
          .config = std::move(config),
          .threads = kThreads};
}

absl::StatusOr<std::string> ElementOf(const CudaStep& step, std::string_view cache) {
  const absl::StatusOr<std::string> element = CacheElementText(step.type(cache).dtype);
  if (!element.ok()) return Annotate(element.status(), RefText(step.value(cache)));
  return StrCat("using Element = ", *element, ";");
}

absl::StatusOr<plan::Expr> SizeOf(const CudaStep& step, const Dim& dim) {
  if (dim.is_symbol()) return step.Symbol(dim.symbol);
  return plan::Constant(dim.value);
}

constexpr std::string_view kReason = "plain loops; the fused operator is faster";

}  // namespace

absl::Status EmitCudaScores(const Node& node, std::string_view kernel, PlanBuilder& builder) {
  RENGA_ASSIGN_OR_RETURN(CudaStep step, CudaStep::Create(node, kernel, node.results[0], builder));
  RENGA_RETURN_IF_ERROR(step.RequireF32({"q"}));
  RENGA_ASSIGN_OR_RETURN(const int64_t heads, step.ConstSize("q", 1));
  RENGA_ASSIGN_OR_RETURN(const int64_t head_dim, step.ConstSize("q", 2));
  RENGA_ASSIGN_OR_RETURN(const int64_t kv_heads, step.ConstSize("k_cache", 1));
  RENGA_ASSIGN_OR_RETURN(const std::string element, ElementOf(step, "k_cache"));
  RENGA_ASSIGN_OR_RETURN(const plan::Expr span, step.Symbol(step.NameAttr("span")));
  RENGA_ASSIGN_OR_RETURN(const plan::Expr pages, SizeOf(step, step.type("pages").shape.back()));
  step.Launch({
      .kernel = PlainKernel(
          "Scores", "ScoresArgs", "attn_scores",
          {IntConfig({{"kQueryHeads", heads}, {"kKvHeads", kv_heads}, {"kHeadDim", head_dim}}),
           IntConfig({{"kPageTokens", step.Int("page_tokens")}, {"kThreads", kThreads}}),
           StrCat("static constexpr double kScale = ", DoubleText(step.Float("scale")), ";"),
           element}),
      .grid_x = plan::CeilDivide(span, kThreads),
      .grid_y = plan::Constant(heads),
      .grid_z = step.rows(),
      .args = {Pointer("q", step.operand("q")), Pointer("k_cache", step.operand("k_cache")),
               Pointer("sequences", step.operand("sequences")),
               Pointer("pages", step.operand("pages")), Pointer("y", step.result(0)),
               Int32("pages_of_sequence", pages), Int32("span", span)},
  });
  step.EndVariant(step.max_rows(), std::string(kReason));
  return absl::OkStatus();
}

absl::Status EmitCudaSoftmax(const Node& node, std::string_view kernel, PlanBuilder& builder) {
  RENGA_ASSIGN_OR_RETURN(CudaStep step, CudaStep::Create(node, kernel, node.results[0], builder));
  const std::string_view scores = node.op->operands[0].name;
  RENGA_RETURN_IF_ERROR(step.RequireF32({scores, "sinks"}));
  RENGA_ASSIGN_OR_RETURN(const int64_t heads, step.ConstSize(scores, 1));
  RENGA_ASSIGN_OR_RETURN(const plan::Expr span, SizeOf(step, step.type(scores).shape[2]));
  step.Launch({
      .kernel = PlainKernel(
          "MaskedSoftmax", "SoftmaxArgs", "masked_softmax",
          {IntConfig({{"kHeads", heads}, {"kWindow", step.Int("window")}, {"kThreads", kThreads}}),
           StrCat("static constexpr bool kCausal = ", step.Bool("causal") ? "true" : "false",
                  ";")}),
      .grid_x = plan::Constant(heads),
      .grid_y = step.rows(),
      .shared = plan::Constant(8 * kThreads / 32),
      .args = {Pointer("x", step.operand(scores)), Pointer("positions", step.operand("positions")),
               Pointer("sinks", step.operand("sinks")), Pointer("y", step.result(0)),
               Int32("span", span)},
  });
  step.EndVariant(step.max_rows(), std::string(kReason));
  return absl::OkStatus();
}

absl::Status EmitCudaValues(const Node& node, std::string_view kernel, PlanBuilder& builder) {
  RENGA_ASSIGN_OR_RETURN(CudaStep step, CudaStep::Create(node, kernel, node.results[0], builder));
  RENGA_RETURN_IF_ERROR(step.RequireF32({"p"}));
  RENGA_ASSIGN_OR_RETURN(const int64_t heads, step.ConstSize("p", 1));
  RENGA_ASSIGN_OR_RETURN(const int64_t kv_heads, step.ConstSize("v_cache", 1));
  RENGA_ASSIGN_OR_RETURN(const int64_t head_dim, step.ConstSize("v_cache", 2));
  RENGA_ASSIGN_OR_RETURN(const std::string element, ElementOf(step, "v_cache"));
  RENGA_ASSIGN_OR_RETURN(const plan::Expr span, SizeOf(step, step.type("p").shape[2]));
  RENGA_ASSIGN_OR_RETURN(const plan::Expr pages, SizeOf(step, step.type("pages").shape.back()));
  step.Launch({
      .kernel = PlainKernel(
          "AttentionValues", "ValuesArgs", "attn_values",
          {IntConfig({{"kQueryHeads", heads}, {"kKvHeads", kv_heads}, {"kHeadDim", head_dim}}),
           IntConfig({{"kPageTokens", step.Int("page_tokens")}, {"kThreads", kThreads}}), element}),
      .grid_x = plan::Constant(heads),
      .grid_y = step.rows(),
      .args = {Pointer("p", step.operand("p")), Pointer("v_cache", step.operand("v_cache")),
               Pointer("sequences", step.operand("sequences")),
               Pointer("pages", step.operand("pages")), Pointer("y", step.result(0)),
               Int32("pages_of_sequence", pages), Int32("span", span)},
  });
  step.EndVariant(step.max_rows(), std::string(kReason));
  return absl::OkStatus();
}

absl::Status EmitCudaSlice(const Node& node, std::string_view kernel, PlanBuilder& builder) {
  RENGA_ASSIGN_OR_RETURN(CudaStep step, CudaStep::Create(node, kernel, node.results[0], builder));
  RENGA_RETURN_IF_ERROR(step.RequireF32({"x"}));
  TensorType rows = step.type("x");
  RENGA_ASSIGN_OR_RETURN(const int64_t width, step.ConstSize("x", rows.shape.size() - 1));
  rows.shape.pop_back();
  RENGA_ASSIGN_OR_RETURN(const plan::Expr count, step.Elements(rows));
  step.Launch({
      .kernel = PlainKernel("PlainSlice", "PlainSliceArgs", "slice",
                            {IntConfig({{"kWidth", width},
                                        {"kStart", step.Int("start")},
                                        {"kSize", step.Int("size")},
                                        {"kThreads", kThreads}})}),
      .grid_x = count,
      .args = {Pointer("x", step.operand("x")), Pointer("y", step.result(0))},
  });
  step.EndVariant(step.max_rows(), "a block a row");
  return absl::OkStatus();
}

absl::Status EmitCudaRoute(const Node& node, std::string_view kernel, PlanBuilder& builder) {
  RENGA_ASSIGN_OR_RETURN(CudaStep step, CudaStep::Create(node, kernel, node.results[0], builder));
  RENGA_RETURN_IF_ERROR(step.RequireF32({"scores"}));
  RENGA_ASSIGN_OR_RETURN(const int64_t experts, step.ConstSize("scores", 1));
  step.Launch({
      .kernel = PlainKernel("Route", "RouteArgs", "moe_route",
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
      .kernel = PlainKernel("ExpertLinear", "ExpertLinearArgs",
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
          PlainKernel("ExpertSum", "ExpertSumArgs", "expert_sum",
                      {IntConfig({{"kUsed", used}, {"kWidth", width}, {"kThreads", kThreads}})}),
      .grid_x = step.rows(),
      .args = {Pointer("x", step.operand("x")), Pointer("weights", step.operand("weights")),
               Pointer("y", step.result(0))},
  });
  step.EndVariant(step.max_rows(), "a block a token");
  return absl::OkStatus();
}

}  // namespace renga::codegen
