// linear: y = W x + b, W in any supported type, in place where the file has it.
// linear_add: y = residual + (W x + b).
// norm_linear: y = W rms_norm(x) + b.
#include "ir/base/status.h"
#include "runtime/device/cpu/add.h"
#include "runtime/device/cpu/kernels.h"
#include "runtime/device/cpu/projection.h"
#include "runtime/device/cpu/shapes.h"

namespace renga::cpu {
namespace {

absl::StatusOr<PreparedKernel> Prepare(const StepSignature& step) {
  const StepCheck check(step, {"x", "weight", "bias"}, {"y"});
  RENGA_RETURN_IF_ERROR(check.Counts(2));
  RENGA_RETURN_IF_ERROR(check.OnlyAttrs({}));
  RENGA_ASSIGN_OR_RETURN(const Projection projection, Projection::Make(check, {}));
  return PreparedKernel([projection](const KernelCall& call) { projection.Run(call); },
                        [projection](const ScratchCall& call) { return projection.Scratch(call); });
}

absl::StatusOr<PreparedKernel> PrepareAdd(const StepSignature& step) {
  const StepCheck check(step, {"residual", "x", "weight", "bias"}, {"y"});
  RENGA_RETURN_IF_ERROR(check.Counts(3));
  RENGA_RETURN_IF_ERROR(check.OnlyAttrs({}));
  RENGA_ASSIGN_OR_RETURN(const Projection projection,
                         Projection::Make(check, {.x = 1, .weight = 2, .bias = 3}));
  RENGA_RETURN_IF_ERROR(check.InType(0, {DType::kF32}, 0));
  RENGA_RETURN_IF_ERROR(check.SameShape("residual", check.In(0), "y", check.Out(0)));
  const auto run = [projection](const KernelCall& call) {
    const float* residual = call.inputs[0].as<const float>();
    float* y = call.outputs[0].as<float>();
    const int64_t tokens = Rows(call.inputs[1]), n = projection.n();
    projection.Run(
        call, 0, [](std::byte*) {},
        [&](std::byte*, int64_t begin, int64_t end, int) {
          for (int64_t at = begin; at < tokens * n; at += n) {
            Add(residual + at, y + at, end - begin, y + at);
          }
        });
  };
  return PreparedKernel(run,
                        [projection](const ScratchCall& call) { return projection.Scratch(call); });
}

absl::StatusOr<PreparedKernel> PrepareNorm(const StepSignature& step) {
  const StepCheck check(step, {"x", "norm", "weight", "bias"}, {"y"});
  RENGA_RETURN_IF_ERROR(check.Counts(3));
  RENGA_RETURN_IF_ERROR(check.OnlyAttrs({"eps"}));
  RENGA_ASSIGN_OR_RETURN(const Projection projection,
                         Projection::Make(check, {.weight = 2, .bias = 3, .norm = 1}));
  return PreparedKernel([projection](const KernelCall& call) { projection.Run(call); },
                        [projection](const ScratchCall& call) { return projection.Scratch(call); });
}

}  // namespace

const KernelDef kLinear = {"linear", Prepare};
const KernelDef kLinearAdd = {"linear_add", PrepareAdd};
const KernelDef kNormLinear = {"norm_linear", PrepareNorm};

}  // namespace renga::cpu
