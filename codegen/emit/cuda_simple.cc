// Operators on rows and on single elements on GPUs: embed, gather_rows, slice,
// rms_norm, arg_max, add.
#include <algorithm>

#include "codegen/emit/cuda_families.h"
#include "codegen/emit/cuda_source.h"
#include "ir/base/mma_layout.h"
#include "ir/base/status.h"

namespace renga::codegen {
namespace {

// Of a block that takes a row of `width`: whole warps, not more than there is to do.
int64_t RowThreads(int64_t width) { return std::clamp<int64_t>(CeilDiv(width, 32) * 32, 32, 256); }

std::string WidthConfig(int64_t width, int64_t threads) {
  return StrCat("static constexpr int kWidth = ", width, ", kThreads = ", threads, ";");
}

CudaLaunch RmsNormLaunch(const plan::Expr& rows, int64_t width, double eps, int32_t x,
                         int32_t weight, int32_t y) {
  const int64_t threads = RowThreads(width);
  return {
      .kernel = {.header = "rows",
                 .call = "RmsNorm<Config>",
                 .args = "RmsNormArgs",
                 .detail = StrCat("rms_norm_", width),
                 .config = {WidthConfig(width, threads),
                            StrCat("static constexpr float kEps = ", FloatText(eps), ";")},
                 .threads = threads,
                 .ir = StrCat("y = rms_norm(x, weight) of rows of ", width)},
      .grid_x = rows,
      .shared = plan::Constant(threads / 32 * 4),
      .args = {Pointer("x", x), Pointer("weight", weight), Pointer("y", y)},
  };
}

}  // namespace

CudaLaunch ArgMaxLaunch(const plan::Expr& rows, int64_t width, int32_t x, int32_t y) {
  constexpr int64_t kThreads = 1024;  // a row is a whole vocabulary
  return {
      .kernel = {.header = "rows",
                 .call = "ArgMax<Config>",
                 .args = "ArgMaxArgs",
                 .detail = StrCat("arg_max_", width),
                 .config = {WidthConfig(width, kThreads)},
                 .threads = kThreads,
                 .ir = StrCat("y = arg_max(x) of rows of ", width)},
      .grid_x = rows,
      .shared = plan::Constant(kThreads / 32 * 8),
      .args = {Pointer("x", x), Pointer("y", y)},
  };
}

absl::Status EmitCudaEmbed(const Node& node, std::string_view kernel, PlanBuilder& builder) {
  RENGA_ASSIGN_OR_RETURN(CudaStep step, CudaStep::Create(node, kernel, node.results[0], builder));
  RENGA_ASSIGN_OR_RETURN(const int64_t vocabulary, step.ConstSize("table", 0));
  RENGA_ASSIGN_OR_RETURN(const int64_t width, step.ConstSize("table", 1));
  const DType type = step.type("table").dtype;
  if (!HasMmaLayout(type)) {  // the kernels read the same types
    return absl::UnimplementedError(StrCat(
        RefText(step.value("table")), ": type ", Name(type), " has no kernel on GPUs; supported: ",
        ProductTypeNames(), "; or use --target cpu, which has all types"));
  }
  const int64_t threads = RowThreads(width);
  step.Launch({
      .kernel = {.header = "rows",
                 .call = "Embed<Config>",
                 .args = "EmbedArgs",
                 .detail = StrCat("embed_", ShapeName(type, vocabulary, width)),
                 .config = {StrCat("using File = ", FileText(type), ";"),
                            StrCat("static constexpr int kVocabulary = ", vocabulary, ";"),
                            WidthConfig(width, threads)},
                 .threads = threads},
      .grid_x = step.rows(),
      .args = {Pointer("tokens", step.operand("tokens")), Pointer("table", step.operand("table")),
               Pointer("y", step.result(0))},
  });
  step.EndVariant(step.max_rows(), "a block a row");
  return absl::OkStatus();
}

absl::Status EmitCudaGatherRows(const Node& node, std::string_view kernel, PlanBuilder& builder) {
  RENGA_ASSIGN_OR_RETURN(CudaStep step, CudaStep::Create(node, kernel, node.results[0], builder));
  RENGA_RETURN_IF_ERROR(step.RequireF32({"x"}));
  const TensorType& x = step.type("x");
  int64_t width = 1;
  for (size_t axis = 1; axis < x.shape.size(); ++axis) {
    RENGA_ASSIGN_OR_RETURN(const int64_t size, step.ConstSize("x", axis));
    width *= size;
  }
  plan::Expr rows_of_x = plan::Constant(x.shape[0].value);
  if (x.shape[0].is_symbol()) {
    RENGA_ASSIGN_OR_RETURN(rows_of_x, step.Symbol(x.shape[0].symbol));
  }
  const int64_t threads = RowThreads(width);
  step.Launch({
      .kernel = {.header = "rows",
                 .call = "GatherRows<Config>",
                 .args = "GatherRowsArgs",
                 .detail = StrCat("gather_rows_", width),
                 .config = {WidthConfig(width, threads)},
                 .threads = threads},
      .grid_x = step.rows(),
      .args = {Pointer("x", step.operand("x")), Pointer("rows", step.operand("rows")),
               Pointer("y", step.result(0)), Int32("rows_of_x", rows_of_x)},
  });
  step.EndVariant(step.max_rows(), "a block a row");
  return absl::OkStatus();
}

absl::Status EmitCudaSlice(const Node& node, std::string_view kernel, PlanBuilder& builder) {
  RENGA_ASSIGN_OR_RETURN(CudaStep step, CudaStep::Create(node, kernel, node.results[0], builder));
  RENGA_RETURN_IF_ERROR(step.RequireF32({"x"}));
  TensorType rows = step.type("x");
  RENGA_ASSIGN_OR_RETURN(const int64_t width, step.ConstSize("x", rows.shape.size() - 1));
  rows.shape.pop_back();
  RENGA_ASSIGN_OR_RETURN(const plan::Expr count, step.Elements(rows));
  const int64_t start = step.Int("start"), size = step.Int("size");
  const int64_t threads = RowThreads(size);
  step.Launch({
      .kernel = {.header = "rows",
                 .call = "Slice<Config>",
                 .args = "SliceArgs",
                 .detail = StrCat("slice_", width, "_", start, "_", size),
                 .config = {WidthConfig(width, threads), StrCat("static constexpr int kStart = ",
                                                                start, ", kSize = ", size, ";")},
                 .threads = threads},
      .grid_x = count,
      .args = {Pointer("x", step.operand("x")), Pointer("y", step.result(0))},
  });
  step.EndVariant(step.max_rows(), "a block a row");
  return absl::OkStatus();
}

absl::Status EmitCudaRmsNorm(const Node& node, std::string_view kernel, PlanBuilder& builder) {
  RENGA_ASSIGN_OR_RETURN(CudaStep step, CudaStep::Create(node, kernel, node.results[0], builder));
  RENGA_RETURN_IF_ERROR(step.RequireF32({"x", "weight"}));
  RENGA_ASSIGN_OR_RETURN(const int64_t width, step.ConstSize("weight", 0));
  TensorType rows = step.type("x");
  rows.shape.pop_back();
  RENGA_ASSIGN_OR_RETURN(const plan::Expr count, step.Elements(rows));
  step.Launch(RmsNormLaunch(count, width, step.Float("eps"), step.operand("x"),
                            step.operand("weight"), step.result(0)));
  step.EndVariant(step.max_rows(), "a block a row");
  return absl::OkStatus();
}

absl::Status EmitCudaArgMax(const Node& node, std::string_view kernel, PlanBuilder& builder) {
  RENGA_ASSIGN_OR_RETURN(CudaStep step, CudaStep::Create(node, kernel, node.results[0], builder));
  constexpr std::string_view x = "x";
  RENGA_RETURN_IF_ERROR(step.RequireF32({x}));
  TensorType rows = step.type(x);
  RENGA_ASSIGN_OR_RETURN(const int64_t width, step.ConstSize(x, rows.shape.size() - 1));
  rows.shape.pop_back();
  RENGA_ASSIGN_OR_RETURN(const plan::Expr count, step.Elements(rows));
  step.Launch(ArgMaxLaunch(count, width, step.operand(x), step.result(0)));
  step.EndVariant(step.max_rows(), "a block a row");
  return absl::OkStatus();
}

absl::Status EmitCudaAdd(const Node& node, std::string_view kernel, PlanBuilder& builder) {
  RENGA_ASSIGN_OR_RETURN(CudaStep step, CudaStep::Create(node, kernel, node.results[0], builder));
  constexpr std::string_view a = "a", b = "b";
  RENGA_RETURN_IF_ERROR(step.RequireF32({a, b}));
  RENGA_ASSIGN_OR_RETURN(const plan::Expr count, step.Elements(step.result_type(0)));
  constexpr int64_t kThreads = 256, kOfBlock = 4 * kThreads;
  step.Launch({
      .kernel = {.header = "elementwise",
                 .call = "AddElements",
                 .args = "AddArgs",
                 .detail = "add",
                 .config = {},
                 .threads = kThreads,
                 .ir = "y = a + b"},
      .grid_x = plan::Min(plan::CeilDivide(count, kOfBlock),
                          plan::Constant(8 * step.gpu().multiprocessors)),
      .args = {Pointer("a", step.operand(a)), Pointer("b", step.operand(b)),
               Pointer("y", step.result(0)), Int64("count", count)},
  });
  step.EndVariant(step.max_rows(), "an element a thread");
  return absl::OkStatus();
}

}  // namespace renga::codegen
