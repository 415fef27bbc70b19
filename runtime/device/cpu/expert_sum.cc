// expert_sum: y[t] = sum over u of weights[t,u] x[t,u], in the order of u.
#include "ir/base/status.h"
#include "runtime/device/cpu/kernels.h"
#include "runtime/device/cpu/shapes.h"
#include "runtime/device/cpu/step_check.h"

namespace renga::cpu {
namespace {

absl::StatusOr<PreparedKernel> Prepare(const StepSignature& step) {
  const StepCheck check(step, {"x", "weights"}, {"y"});
  RENGA_RETURN_IF_ERROR(check.Counts(2));
  RENGA_RETURN_IF_ERROR(check.OnlyAttrs({}));
  RENGA_RETURN_IF_ERROR(check.InType(0, {DType::kF32}, 3));
  RENGA_RETURN_IF_ERROR(check.InType(1, {DType::kF32}, 2));
  RENGA_RETURN_IF_ERROR(check.OutType(0, {DType::kF32}, 2));
  const plan::TensorType& x = check.In(0);
  RENGA_RETURN_IF_ERROR(check.SameDim("weights", check.In(1), 0, "x", x.shape[0]));
  RENGA_RETURN_IF_ERROR(check.SameDim("weights", check.In(1), 1, "x", x.shape[1]));
  RENGA_RETURN_IF_ERROR(check.SameDim("y", check.Out(0), 0, "x", x.shape[0]));
  RENGA_RETURN_IF_ERROR(check.SameDim("y", check.Out(0), 1, "x", x.shape[2]));
  return [](const KernelCall& call) {
    const TensorRef& x = call.inputs[0];
    const int64_t used = x.dims[1], n = x.dims[2];
    call.pool.ParallelFor(x.dims[0], RowGrain(n * used), [&](int64_t begin, int64_t end, int) {
      for (int64_t t = begin; t < end; ++t) {
        const float* in = x.as<const float>() + t * used * n;
        const float* weights = call.inputs[1].as<const float>() + t * used;
        float* y = call.outputs[0].as<float>() + t * n;
        for (int64_t i = 0; i < n; ++i) y[i] = weights[0] * in[i];
        for (int64_t u = 1; u < used; ++u) {
          for (int64_t i = 0; i < n; ++i) y[i] += weights[u] * in[u * n + i];
        }
      }
    });
  };
}

}  // namespace

const KernelDef kExpertSum = {"expert_sum", Prepare};

}  // namespace renga::cpu
