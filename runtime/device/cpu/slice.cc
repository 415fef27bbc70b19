// slice: y[..,i] = x[..,start + i].
#include <algorithm>

#include "ir/base/status.h"
#include "ir/base/strings.h"
#include "runtime/device/cpu/kernels.h"
#include "runtime/device/cpu/shapes.h"
#include "runtime/device/cpu/step_check.h"

namespace renga::cpu {
namespace {

absl::StatusOr<PreparedKernel> Prepare(const StepSignature& step) {
  const StepCheck check(step, {"x"}, {"y"});
  RENGA_RETURN_IF_ERROR(check.Counts(1));
  RENGA_RETURN_IF_ERROR(check.OnlyAttrs({"size", "start"}));
  RENGA_RETURN_IF_ERROR(check.InType(0, {DType::kF32}, 0));
  const plan::TensorType& x = check.In(0);
  RENGA_RETURN_IF_ERROR(check.OutType(0, {DType::kF32}, x.shape.size()));
  RENGA_ASSIGN_OR_RETURN(const int64_t start, check.Int("start"));
  RENGA_ASSIGN_OR_RETURN(const int64_t size, check.Int("size"));
  const size_t last = x.shape.size() - 1;
  RENGA_ASSIGN_OR_RETURN(const int64_t width, check.ConstDim(0, last));
  if (start < 0 || size < 1 || start > width || size > width - start) {
    return check.Error(StrCat("attributes start and size are ", start, " and ", size,
                              ", expected a range within ", width));
  }
  for (size_t i = 0; i < last; ++i) {
    RENGA_RETURN_IF_ERROR(check.SameDim("y", check.Out(0), i, "x", x.shape[i]));
  }
  RENGA_RETURN_IF_ERROR(check.SameDim("y", check.Out(0), last, "attribute size", {-1, size}));
  return [start, size](const KernelCall& call) {
    const float* in = call.inputs[0].as<const float>() + start;
    float* out = call.outputs[0].as<float>();
    const int64_t width = Width(call.inputs[0]);
    call.pool.ParallelFor(Rows(call.inputs[0]), RowGrain(size),
                          [&](int64_t begin, int64_t end, int) {
                            for (int64_t r = begin; r < end; ++r)
                              std::copy_n(in + r * width, size, out + r * size);
                          });
  };
}

}  // namespace

const KernelDef kSlice = {"slice", Prepare};

}  // namespace renga::cpu
