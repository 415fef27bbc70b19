// attention in its parts on GPUs, as it stands where no pass fused it
// (codegen/kernels/attention_parts.cuh): plain loops, for looking at one of them.
#include <algorithm>

#include "codegen/emit/cuda_cache.h"
#include "codegen/emit/cuda_families.h"
#include "codegen/emit/cuda_key_bias.h"
#include "codegen/emit/cuda_source.h"
#include "ir/base/status.h"

namespace renga::codegen {
namespace {

constexpr int64_t kThreads = 128;
constexpr std::string_view kReason = "plain loops; the fused operator is faster";

CudaKernel PartKernel(std::string_view part, std::string_view detail,
                      std::vector<std::string> config) {
  return {.header = "attention_parts",
          .call = StrCat(part, "<Config>"),
          .args = StrCat(part, "Args"),
          .detail = std::string(detail),
          .config = std::move(config),
          .threads = kThreads};
}

absl::StatusOr<plan::Expr> SizeOf(const CudaStep& step, const Dim& dim) {
  if (dim.is_symbol()) return step.Symbol(dim.symbol);
  return plan::Constant(dim.value);
}

// Positions of the tokens that the scores are of: those of the softmax that takes them. None where
// no softmax does.
ValueId PositionsOf(const Graph& graph, ValueId scores) {
  constexpr size_t kScores = 0, kPositions = 1;
  for (const Node& node : graph.nodes) {
    if (node.op->name == "masked_softmax" && node.operands[kScores] == scores) {
      return node.operands[kPositions];
    }
  }
  return kNoValue;
}

}  // namespace

absl::Status EmitCudaScores(const Node& node, std::string_view kernel, PlanBuilder& builder) {
  RENGA_ASSIGN_OR_RETURN(CudaStep step, CudaStep::Create(node, kernel, node.results[0], builder));
  RENGA_RETURN_IF_ERROR(step.RequireF32({"q"}));
  RENGA_ASSIGN_OR_RETURN(const int64_t heads, step.ConstSize("q", 1));
  RENGA_ASSIGN_OR_RETURN(const int64_t head_dim, step.ConstSize("q", 2));
  RENGA_ASSIGN_OR_RETURN(const int64_t kv_heads, step.ConstSize("k_cache", 1));
  RENGA_ASSIGN_OR_RETURN(const CudaCache cache, CacheOf(step, "k_cache"));
  RENGA_ASSIGN_OR_RETURN(const plan::Expr span, step.Symbol(step.NameAttr("span")));
  RENGA_ASSIGN_OR_RETURN(const plan::Expr pages, SizeOf(step, step.type("pages").shape.back()));
  const int32_t positions = builder.buffer(PositionsOf(builder.graph(), node.results[0]));
  if (positions >= 0) step.AddInput(positions);
  RENGA_ASSIGN_OR_RETURN(const CudaKeyBias bias, KeyBiasOf(step));
  std::vector<std::string> config = {
      StrCat("static constexpr int kQueryHeads = ", heads, ", kKvHeads = ", kv_heads,
             ", kHeadDim = ", head_dim, ";"),
      StrCat("static constexpr int kPageTokens = ", step.Int("page_tokens"), ";"),
      StrCat("static constexpr double kScale = ", DoubleText(step.Float("scale")), ";"),
      StrCat("using KeyCache = ", cache.element, ";")};
  config.insert(config.end(), bias.config.begin(), bias.config.end());
  CudaLaunch launch = {
      .kernel = PartKernel(bias.there() ? "BiasedAttnScores" : "AttnScores", "attn_scores",
                           std::move(config)),
      .grid_x = plan::CeilDivide(span, kThreads),
      .grid_y = plan::Constant(heads),
      .grid_z = step.rows(),
      .args = {Pointer("q", step.operand("q")), cache.Values("k_cache"), cache.Scales("k_scales"),
               Pointer("sequences", step.operand("sequences")), Pointer("positions", positions),
               Pointer("pages", step.operand("pages")), Pointer("s", step.result(0)),
               Int32("pages_of_sequence", pages), Int32("span", span)},
  };
  if (bias.there()) launch.args.push_back(Pointer("k_bias", bias.buffer));
  step.Launch(std::move(launch));
  step.EndVariant(step.max_rows(), std::string(kReason));
  return absl::OkStatus();
}

absl::Status EmitCudaSoftmax(const Node& node, std::string_view kernel, PlanBuilder& builder) {
  RENGA_ASSIGN_OR_RETURN(CudaStep step, CudaStep::Create(node, kernel, node.results[0], builder));
  RENGA_RETURN_IF_ERROR(step.RequireF32({"s", "sinks"}));
  RENGA_RETURN_IF_ERROR(RequireCausal(step));
  RENGA_ASSIGN_OR_RETURN(const int64_t heads, step.ConstSize("s", 1));
  RENGA_ASSIGN_OR_RETURN(const plan::Expr span, SizeOf(step, step.type("s").shape[2]));
  step.Launch({
      .kernel = PartKernel("MaskedSoftmax", "masked_softmax",
                           {StrCat("static constexpr int kQueryHeads = ", heads, ", kWindow = ",
                                   step.Int("window"), ", kThreads = ", kThreads, ";"),
                            "static constexpr bool kCausal = true;"}),
      .grid_x = plan::Constant(heads),
      .grid_y = step.rows(),
      .shared = plan::Constant(8 * kThreads / 32),
      .args = {Pointer("s", step.operand("s")), Pointer("positions", step.operand("positions")),
               Pointer("sinks", step.operand("sinks")), Pointer("p", step.result(0)),
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
  RENGA_ASSIGN_OR_RETURN(const CudaCache cache, CacheOf(step, "v_cache"));
  RENGA_ASSIGN_OR_RETURN(const plan::Expr span, SizeOf(step, step.type("p").shape[2]));
  RENGA_ASSIGN_OR_RETURN(const plan::Expr pages, SizeOf(step, step.type("pages").shape.back()));
  step.Launch({
      .kernel =
          PartKernel("AttnValues", "attn_values",
                     {StrCat("static constexpr int kQueryHeads = ", heads,
                             ", kKvHeads = ", kv_heads, ", kHeadDim = ", head_dim, ";"),
                      StrCat("static constexpr int kPageTokens = ", step.Int("page_tokens"), ";"),
                      StrCat("using ValueCache = ", cache.element, ";")}),
      .grid_x = plan::Constant(heads),
      .grid_y = step.rows(),
      .args = {Pointer("p", step.operand("p")), cache.Values("v_cache"), cache.Scales("v_scales"),
               Pointer("sequences", step.operand("sequences")),
               Pointer("pages", step.operand("pages")), Pointer("y", step.result(0)),
               Int32("pages_of_sequence", pages), Int32("span", span)},
  });
  step.EndVariant(step.max_rows(), std::string(kReason));
  return absl::OkStatus();
}

}  // namespace renga::codegen
