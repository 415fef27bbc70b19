// linear: y = W x + b, W in any supported type, in place where the file has it.
// linear_add: y = residual + (W x + b).
#include "ir/base/status.h"
#include "ir/base/strings.h"
#include "runtime/device/cpu/add.h"
#include "runtime/device/cpu/kernels.h"
#include "runtime/device/cpu/shapes.h"
#include "runtime/device/cpu/weight_product.h"

namespace renga::cpu {
namespace {

// `x` is the number of the operand x; weight and bias follow. `residual` may be null.
void Run(const WeightProduct& product, int64_t n, size_t x_at, const float* residual,
         const KernelCall& call) {
  const TensorRef& x = call.inputs[x_at];
  const int64_t tokens = Rows(x);
  const float* rows = x.as<const float>();
  const float* bias =
      call.inputs.size() > x_at + 2 ? call.inputs[x_at + 2].as<const float>() : nullptr;
  float* y = call.outputs[0].as<float>();
  const WeightProduct::Input input =
      product.Convert(call.pool, tokens, [&](int64_t t) { return rows + t * product.k(); });
  call.pool.ParallelFor(n, WeightProduct::kRows, [&](int64_t begin, int64_t end, int worker) {
    product.Multiply(call.inputs[x_at + 1].data, begin, end, input, 0, tokens, y, n, call.pool,
                     worker);
    for (int64_t t = 0; t < tokens; ++t) {
      float* to = y + t * n + begin;
      if (bias != nullptr) Add(to, bias + begin, end - begin, to);
      if (residual != nullptr) Add(residual + t * n + begin, to, end - begin, to);
    }
  });
}

absl::StatusOr<WeightProduct> CheckProduct(const StepCheck& check, size_t x_at) {
  RENGA_RETURN_IF_ERROR(check.OnlyAttrs({}));
  RENGA_RETURN_IF_ERROR(check.InType(x_at, {DType::kF32}, 0));
  const plan::TensorType& x = check.In(x_at);
  RENGA_RETURN_IF_ERROR(check.OutType(0, {DType::kF32}, x.shape.size()));
  RENGA_RETURN_IF_ERROR(check.InRank(x_at + 1, 2));
  const plan::TensorType& weight = check.In(x_at + 1);
  RENGA_RETURN_IF_ERROR(check.ConstDim(x_at + 1, 0).status());
  RENGA_ASSIGN_OR_RETURN(const WeightProduct product, WeightProduct::Make(check, "weight", weight));
  const size_t last = x.shape.size() - 1;
  RENGA_RETURN_IF_ERROR(check.SameDim("x", x, last, "weight", weight.shape[1]));
  RENGA_RETURN_IF_ERROR(check.SameDim("y", check.Out(0), last, "weight", weight.shape[0]));
  for (size_t i = 0; i < last; ++i) {
    RENGA_RETURN_IF_ERROR(check.SameDim("y", check.Out(0), i, "x", x.shape[i]));
  }
  if (const plan::TensorType* bias = check.Optional(x_at + 2)) {
    RENGA_RETURN_IF_ERROR(check.InType(x_at + 2, {DType::kF32}, 1));
    RENGA_RETURN_IF_ERROR(check.SameDim("bias", *bias, 0, "weight", weight.shape[0]));
  }
  return product;
}

absl::StatusOr<PreparedKernel> Prepare(const StepSignature& step) {
  const StepCheck check(step, {"x", "weight", "bias"}, {"y"});
  RENGA_RETURN_IF_ERROR(check.Counts(2));
  RENGA_ASSIGN_OR_RETURN(const WeightProduct product, CheckProduct(check, 0));
  return [product, n = check.In(1).shape[0].value](const KernelCall& call) {
    Run(product, n, 0, nullptr, call);
  };
}

absl::StatusOr<PreparedKernel> PrepareAdd(const StepSignature& step) {
  const StepCheck check(step, {"residual", "x", "weight", "bias"}, {"y"});
  RENGA_RETURN_IF_ERROR(check.Counts(3));
  RENGA_ASSIGN_OR_RETURN(const WeightProduct product, CheckProduct(check, 1));
  RENGA_RETURN_IF_ERROR(check.InType(0, {DType::kF32}, 0));
  RENGA_RETURN_IF_ERROR(check.SameShape("residual", check.In(0), "y", check.Out(0)));
  return [product, n = check.In(2).shape[0].value](const KernelCall& call) {
    Run(product, n, 1, call.inputs[0].as<const float>(), call);
  };
}

}  // namespace

const KernelDef kLinear = {"linear", Prepare};
const KernelDef kLinearAdd = {"linear_add", PrepareAdd};

}  // namespace renga::cpu
