// gather_rows: y[r] = x[rows[r]].
#include <algorithm>

#include "ir/base/status.h"
#include "runtime/device/cpu/kernels.h"
#include "runtime/device/cpu/shapes.h"
#include "runtime/device/cpu/step_check.h"

namespace renga::cpu {
namespace {

absl::StatusOr<PreparedKernel> Prepare(const StepSignature& step) {
  const StepCheck check(step, {"x", "rows"}, {"y"});
  RENGA_RETURN_IF_ERROR(check.Counts(2));
  RENGA_RETURN_IF_ERROR(check.OnlyAttrs({}));
  RENGA_RETURN_IF_ERROR(check.InType(0, {DType::kF32}, 2));
  RENGA_RETURN_IF_ERROR(check.InType(1, {DType::kI32}, 1));
  RENGA_RETURN_IF_ERROR(check.OutType(0, {DType::kF32}, 2));
  RENGA_RETURN_IF_ERROR(check.SameDim("y", check.Out(0), 0, "rows", check.In(1).shape[0]));
  RENGA_RETURN_IF_ERROR(check.SameDim("y", check.Out(0), 1, "x", check.In(0).shape[1]));
  return [](const KernelCall& call) {
    const float* x = call.inputs[0].as<const float>();
    const int32_t* rows = call.inputs[1].as<const int32_t>();
    float* y = call.outputs[0].as<float>();
    const int64_t n = Width(call.inputs[0]);
    for (int64_t r = 0; r < call.inputs[1].dims[0]; ++r) std::copy_n(x + rows[r] * n, n, y + r * n);
  };
}

}  // namespace

const KernelDef kGatherRows = {"gather_rows", Prepare};

}  // namespace renga::cpu
