// head: logits = W h + b with h = rms_norm(x) where there is a norm, and next = arg max of each row
// of logits, found while they are warm.
#include <memory>

#include "ir/base/status.h"
#include "ir/base/strings.h"
#include "runtime/device/cpu/arg_max.h"
#include "runtime/device/cpu/kernels.h"
#include "runtime/device/cpu/projection.h"
#include "runtime/device/cpu/shapes.h"

namespace renga::cpu {
namespace {

void Run(const Projection& projection, const KernelCall& call) {
  const float* logits = call.outputs[0].as<const float>();
  int32_t* next = call.outputs[1].as<int32_t>();
  const int64_t rows = Rows(call.inputs[0]), n = projection.n();
  const int64_t found_count = rows * call.pool.threads();
  Largest* found = nullptr;  // [threads, rows]
  projection.Run(
      call, static_cast<size_t>(found_count) * sizeof(Largest),
      [&](std::byte* extra) {
        found = reinterpret_cast<Largest*>(extra);
        std::uninitialized_fill_n(found, found_count, Largest());
      },
      [&](std::byte*, int64_t begin, int64_t end, int worker) {
        for (int64_t r = 0; r < rows; ++r) {
          found[worker * rows + r].Fold(logits + r * n + begin, end - begin, begin);
        }
      });
  for (int64_t r = 0; r < rows; ++r) {
    Largest largest;
    for (int64_t i = r; i < found_count; i += rows) largest.Fold(found[i]);
    next[r] = largest.index;
  }
}

absl::StatusOr<PreparedKernel> Prepare(const StepSignature& step) {
  const StepCheck check(step, {"x", "weight", "norm", "bias"}, {"y", "next"});
  RENGA_RETURN_IF_ERROR(check.Counts(2));
  RENGA_RETURN_IF_ERROR(check.OnlyAttrs({"eps"}));
  RENGA_ASSIGN_OR_RETURN(const Projection projection,
                         Projection::Make(check, {.bias = 3, .norm = 2}));
  const plan::TensorType& x = check.In(0);
  RENGA_RETURN_IF_ERROR(check.OutType(1, {DType::kI32}, 0));
  if (x.shape.size() < 2 || check.Out(1).shape.size() != x.shape.size() - 1) {
    return check.Error(StrCat("next has shape ", check.ShapeText(check.Out(1)),
                              ", expected that of x without the last axis, ", check.ShapeText(x)));
  }
  for (size_t i = 0; i + 1 < x.shape.size(); ++i) {
    RENGA_RETURN_IF_ERROR(check.SameDim("next", check.Out(1), i, "x", x.shape[i]));
  }
  return PreparedKernel([projection](const KernelCall& call) { Run(projection, call); },
                        [projection](const ScratchCall& call) {
                          const int64_t found = Rows(call.inputs[0]) * call.threads;
                          return projection.Scratch(call,
                                                    static_cast<size_t>(found) * sizeof(Largest));
                        });
}

}  // namespace

const KernelDef kHead = {"head", Prepare};

}  // namespace renga::cpu
