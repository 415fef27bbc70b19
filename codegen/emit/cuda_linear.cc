// linear, norm_linear, linear_add, gate_up and head on GPUs: for up to 8 (logits: 16) rows one
// kernel that streams the weights past them, beyond that products of matrices.
#include <algorithm>

#include "codegen/emit/cuda_families.h"
#include "codegen/emit/cuda_products.h"
#include "ir/base/status.h"

namespace renga::codegen {
namespace {

// "kSilu": as codegen/kernels/activation.cuh has it.
absl::StatusOr<std::string> ActivationText(const std::string& name) {
  constexpr std::pair<std::string_view, std::string_view> kNames[] = {{"silu", "kSilu"},
                                                                      {"gelu_tanh", "kGeluTanh"}};
  for (const auto& [known, text] : kNames) {
    if (known == name) return StrCat("Activation::", text);
  }
  return absl::UnimplementedError(StrCat("activation ", name, " has no kernel; supported: silu ",
                                         "gelu_tanh; the cpu target has all"));
}

// glu of whole tensors, in as many blocks as fill the GPU.
CudaLaunch GluLaunch(const CudaStep& step, const std::string& activation, int32_t gate, int32_t up,
                     int32_t y, const plan::Expr& count) {
  constexpr int64_t kThreads = 256, kOfBlock = 4 * kThreads;
  return {
      .kernel = {.header = "elementwise",
                 .call = StrCat("GluElements<", activation, ">"),
                 .args = "GluArgs",
                 .detail = "glu",
                 .config = {},
                 .threads = kThreads,
                 .ir = "y = activation(gate) * up"},
      .grid_x = plan::Min(plan::CeilDivide(count, kOfBlock),
                          plan::Constant(8 * step.gpu().multiprocessors)),
      .args = {Pointer("gate", gate), Pointer("up", up), Pointer("y", y), Int64("count", count)},
  };
}

}  // namespace

absl::Status EmitCudaLinear(const Node& node, std::string_view kernel, PlanBuilder& builder) {
  RENGA_ASSIGN_OR_RETURN(CudaStep step, CudaStep::Create(node, kernel, node.results[0], builder));
  RENGA_RETURN_IF_ERROR(step.RequireF32({"x", "norm", "bias", "residual"}));
  RENGA_ASSIGN_OR_RETURN(const ProductWeight weight, WeightOf(step, "weight"));
  if (step.type("x").rank() != 2) {
    return absl::UnimplementedError(
        StrCat(RefText(step.value("x")), ": expected rows, got ", ToString(step.type("x"))));
  }
  const int64_t warps = ProductWarps(step.gpu(), weight.layout, weight.layout.tiles);
  const int64_t padded_k = weight.layout.padded_k(), x_parts = XParts({&weight});
  const int64_t wanted = DecodeRows(step.gpu(), {&weight});
  RENGA_ASSIGN_OR_RETURN(const std::string way, ChooseProductWay(step, {&weight}));
  const int64_t rows = StreamedRows(step.gpu(), way, wanted, [&](int64_t n) {
    return LinearShared(static_cast<int>(warps), n, padded_k, x_parts).At(n);
  });
  if (rows > 0) {
    step.Launch({
        .kernel = {.header = "linear",
                   .call = "Linear<Config>",
                   .args = "LinearArgs",
                   .detail = StrCat(kernel, "_", weight.Name()),
                   .config = {StrCat("using Weight = ", weight.Text(x_parts), ";"),
                              SizesConfig(rows, warps, x_parts), NormConfig(step)},
                   .threads = 32 * warps,
                   .blocks_per_sm = ProductBlocksPerSm(warps)},
        .grid_x = plan::Constant(ProductBlocks(step.gpu(), weight.layout.tiles, warps)),
        .shared = SharedBytes(LinearShared(static_cast<int>(warps), rows, padded_k, x_parts),
                              step.rows()),
        .args = {Pointer("x", step.operand("x")), Pointer("norm", step.operand("norm")),
                 Pointer("weight", weight.buffer), Pointer("bias", step.operand("bias")),
                 Pointer("residual", step.operand("residual")), Pointer("y", step.result(0)),
                 Int32("tokens", step.rows())},
    });
    step.EndVariant(rows, StrCat(DecodeReason(rows, wanted), XPartsReason(x_parts)),
                    AlikeRows(rows, x_parts));
  }
  return EmitManyRows(step, way, rows, {&weight}, x_parts,
                      [&](const ManyRows& many, const HalfRowsOf& x) {
                        AddMatmul(step, many, x, weight,
                                  {step.operand("bias"), step.operand("residual"), step.result(0)});
                      });
}

absl::Status EmitCudaGateUp(const Node& node, std::string_view kernel, PlanBuilder& builder) {
  RENGA_ASSIGN_OR_RETURN(CudaStep step, CudaStep::Create(node, kernel, node.results[0], builder));
  RENGA_RETURN_IF_ERROR(step.RequireF32({"x", "norm", "gate_bias", "up_bias"}));
  RENGA_ASSIGN_OR_RETURN(const ProductWeight gate, WeightOf(step, "gate"));
  RENGA_ASSIGN_OR_RETURN(const ProductWeight up, WeightOf(step, "up"));
  RENGA_ASSIGN_OR_RETURN(const std::string activation, ActivationText(step.NameAttr("activation")));
  const int64_t warps = ProductWarps(step.gpu(), gate.layout, gate.layout.tiles);
  const int64_t padded_k = std::max(gate.layout.padded_k(), up.layout.padded_k());
  const int64_t x_parts = XParts({&gate, &up}), wanted = DecodeRows(step.gpu(), {&gate, &up});
  RENGA_ASSIGN_OR_RETURN(const std::string way, ChooseProductWay(step, {&gate, &up}));
  const int64_t rows = StreamedRows(step.gpu(), way, wanted, [&](int64_t n) {
    return GateUpShared(static_cast<int>(warps), n, padded_k, x_parts).At(n);
  });
  if (rows > 0) {
    step.Launch({
        .kernel = {.header = "gate_up",
                   .call = "GateUp<Config>",
                   .args = "GateUpArgs",
                   .detail = StrCat(kernel, "_", gate.Name(),
                                    up.type == gate.type ? "" : StrCat("_", Name(up.type))),
                   .config = {StrCat("using Gate = ", gate.Text(x_parts), ";"),
                              StrCat("using Up = ", up.Text(x_parts), ";"),
                              SizesConfig(rows, warps, x_parts), NormConfig(step),
                              StrCat("static constexpr Activation kActivation = ", activation,
                                     ";")},
                   .threads = 32 * warps,
                   .blocks_per_sm = ProductBlocksPerSm(warps)},
        .grid_x = plan::Constant(ProductBlocks(step.gpu(), gate.layout.tiles, warps)),
        .shared = SharedBytes(GateUpShared(static_cast<int>(warps), rows, padded_k, x_parts),
                              step.rows()),
        .args = {Pointer("x", step.operand("x")), Pointer("norm", step.operand("norm")),
                 Pointer("gate", gate.buffer), Pointer("up", up.buffer),
                 Pointer("gate_bias", step.operand("gate_bias")),
                 Pointer("up_bias", step.operand("up_bias")), Pointer("y", step.result(0)),
                 Int32("tokens", step.rows())},
    });
    step.EndVariant(rows, StrCat(DecodeReason(rows, wanted), XPartsReason(x_parts)),
                    AlikeRows(rows, x_parts));
  }
  if (rows >= step.max_rows()) return absl::OkStatus();
  RENGA_ASSIGN_OR_RETURN(const int32_t gate_y, step.RowScratch("gate", DType::kF32, gate.rows));
  RENGA_ASSIGN_OR_RETURN(const int32_t up_y, step.RowScratch("up", DType::kF32, up.rows));
  return EmitManyRows(
      step, way, rows, {&gate, &up}, x_parts, [&](const ManyRows& many, const HalfRowsOf& x) {
        AddMatmul(step, many, x, gate, {.bias = step.operand("gate_bias"), .y = gate_y});
        AddMatmul(step, many, x, up, {.bias = step.operand("up_bias"), .y = up_y});
        step.Launch(GluLaunch(step, activation, gate_y, up_y, step.result(0),
                              step.rows() * plan::Constant(gate.rows)));
      });
}

absl::Status EmitCudaGlu(const Node& node, std::string_view kernel, PlanBuilder& builder) {
  RENGA_ASSIGN_OR_RETURN(CudaStep step, CudaStep::Create(node, kernel, node.results[0], builder));
  RENGA_RETURN_IF_ERROR(step.RequireF32({"gate", "up"}));
  RENGA_ASSIGN_OR_RETURN(const std::string activation, ActivationText(step.NameAttr("activation")));
  RENGA_ASSIGN_OR_RETURN(const plan::Expr count, step.Elements(step.result_type(0)));
  step.Launch(
      GluLaunch(step, activation, step.operand("gate"), step.operand("up"), step.result(0), count));
  step.EndVariant(step.max_rows(), "an element a thread");
  return absl::OkStatus();
}

absl::Status EmitCudaHead(const Node& node, std::string_view kernel, PlanBuilder& builder) {
  RENGA_ASSIGN_OR_RETURN(CudaStep step, CudaStep::Create(node, kernel, node.results[0], builder));
  RENGA_RETURN_IF_ERROR(step.RequireF32({"x", "norm", "bias"}));
  RENGA_ASSIGN_OR_RETURN(const ProductWeight weight, WeightOf(step, "weight"));
  const int64_t warps = 8, padded_k = weight.layout.padded_k();
  // Twice what products take: there is hardly ever more, and a second kernel for few rows is saved.
  const int64_t wanted = 2 * kDecodeRows;
  // One part, also of small heads: what f16 does to x here no later product makes larger.
  constexpr int64_t kXParts = 1;
  RENGA_ASSIGN_OR_RETURN(const std::string way, ChooseProductWay(step, {&weight}));
  const int64_t rows = StreamedRows(step.gpu(), way, wanted, [&](int64_t n) {
    return HeadShared(static_cast<int>(warps), n, padded_k).At(n);
  });
  const int32_t logits = step.result(0), next = step.result(1);
  if (rows > 0) {
    step.Launch({
        .kernel = {.header = "head",
                   .call = "Head<Config>",
                   .args = "HeadArgs",
                   .detail = StrCat(kernel, "_", weight.Name()),
                   .config = {StrCat("using Weight = ", weight.Text(kXParts), ";"),
                              SizesConfig(rows, warps, kXParts), NormConfig(step)},
                   .threads = 32 * warps,
                   .blocks_per_sm = ProductBlocksPerSm(warps)},
        .grid_x = plan::Constant(ProductBlocks(step.gpu(), weight.layout.tiles, warps)),
        .shared = SharedBytes(HeadShared(static_cast<int>(warps), rows, padded_k), step.rows()),
        .args = {Pointer("x", step.operand("x")), Pointer("norm", step.operand("norm")),
                 Pointer("weight", weight.buffer), Pointer("bias", step.operand("bias")),
                 Pointer("logits", logits), Pointer("next", next),
                 Pointer("best", step.Persistent("head.best", 8 * rows)),
                 Pointer("ticket", step.Persistent("head.ticket", 4)), Int32("rows", step.rows())},
    });
    step.EndVariant(rows, DecodeReason(rows, wanted));
  }
  return EmitManyRows(
      step, way, rows, {&weight}, kXParts, [&](const ManyRows& many, const HalfRowsOf& x) {
        AddMatmul(step, many, x, weight, {.bias = step.operand("bias"), .y = logits});
        step.Launch(ArgMaxLaunch(step.rows(), weight.rows, logits, next));
      });
}

}  // namespace renga::codegen
