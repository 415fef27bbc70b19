// linear: y = W x + b, W in any supported type, in place where the file has it.
#include "ir/base/status.h"
#include "ir/base/strings.h"
#include "runtime/device/cpu/kernels.h"
#include "runtime/device/cpu/shapes.h"
#include "runtime/device/cpu/weight_product.h"

namespace renga::cpu {
namespace {

void Run(const WeightProduct& product, int64_t n, const KernelCall& call) {
  const TensorRef& x = call.inputs[0];
  const int64_t tokens = Rows(x);
  const float* rows = x.as<const float>();
  const float* bias = call.inputs.size() > 2 ? call.inputs[2].as<const float>() : nullptr;
  float* y = call.outputs[0].as<float>();
  const WeightProduct::Input input =
      product.Convert(call.pool, tokens, [&](int64_t t) { return rows + t * product.k(); });
  call.pool.ParallelFor(n, WeightProduct::kRows, [&](int64_t begin, int64_t end, int worker) {
    product.Multiply(call.inputs[1].data, begin, end, input, 0, tokens, y, n, call.pool, worker);
    if (bias == nullptr) return;
    for (int64_t t = 0; t < tokens; ++t) {
      for (int64_t r = begin; r < end; ++r) y[t * n + r] += bias[r];
    }
  });
}

absl::StatusOr<PreparedKernel> Prepare(const StepSignature& step) {
  const StepCheck check(step, {"x", "weight", "bias"}, {"y"});
  RENGA_RETURN_IF_ERROR(check.Counts(2));
  RENGA_RETURN_IF_ERROR(check.OnlyAttrs({}));
  RENGA_RETURN_IF_ERROR(check.InType(0, {DType::kF32}, 0));
  RENGA_RETURN_IF_ERROR(check.OutType(0, {DType::kF32}, check.In(0).shape.size()));
  RENGA_RETURN_IF_ERROR(check.InRank(1, 2));
  const plan::TensorType& weight = check.In(1);
  RENGA_ASSIGN_OR_RETURN(const int64_t n, check.ConstDim(1, 0));
  RENGA_ASSIGN_OR_RETURN(const WeightProduct product, WeightProduct::Make(check, "weight", weight));
  const size_t last = check.In(0).shape.size() - 1;
  RENGA_RETURN_IF_ERROR(check.SameDim("x", check.In(0), last, "weight", weight.shape[1]));
  RENGA_RETURN_IF_ERROR(check.SameDim("y", check.Out(0), last, "weight", weight.shape[0]));
  for (size_t i = 0; i < last; ++i) {
    RENGA_RETURN_IF_ERROR(check.SameDim("y", check.Out(0), i, "x", check.In(0).shape[i]));
  }
  if (const plan::TensorType* bias = check.Optional(2)) {
    RENGA_RETURN_IF_ERROR(check.InType(2, {DType::kF32}, 1));
    RENGA_RETURN_IF_ERROR(check.SameDim("bias", *bias, 0, "weight", weight.shape[0]));
  }
  return [product, n](const KernelCall& call) { Run(product, n, call); };
}

}  // namespace

const KernelDef kLinear = {"linear", Prepare};

}  // namespace renga::cpu
