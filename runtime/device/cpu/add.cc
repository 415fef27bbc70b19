// add: y = a + b.
#include "runtime/device/cpu/add.h"

#include "ir/base/status.h"
#include "runtime/device/cpu/kernels.h"
#include "runtime/device/cpu/shapes.h"
#include "runtime/device/cpu/simd.h"
#include "runtime/device/cpu/step_check.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/device/cpu/add.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "runtime/device/cpu/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace renga::cpu::HWY_NAMESPACE {
namespace {
struct Sum {
  HWY_INLINE VF operator()(VF a, VF b) const { return hn::Add(a, b); }
};
}  // namespace

void AddRow(const float* a, const float* b, int64_t n, float* y) { ForEach(a, b, n, y, Sum()); }

}  // namespace renga::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace renga::cpu {

HWY_EXPORT(AddRow);

void Add(const float* a, const float* b, int64_t n, float* y) {
  HWY_DYNAMIC_DISPATCH(AddRow)(a, b, n, y);
}

namespace {

absl::StatusOr<PreparedKernel> Prepare(const StepSignature& step) {
  const StepCheck check(step, {"a", "b"}, {"y"});
  RENGA_RETURN_IF_ERROR(check.Counts(2));
  RENGA_RETURN_IF_ERROR(check.OnlyAttrs({}));
  RENGA_RETURN_IF_ERROR(check.InType(0, {DType::kF32}, 0));
  RENGA_RETURN_IF_ERROR(check.InType(1, {DType::kF32}, 0));
  RENGA_RETURN_IF_ERROR(check.OutType(0, {DType::kF32}, 0));
  RENGA_RETURN_IF_ERROR(check.SameShape("b", check.In(1), "a", check.In(0)));
  RENGA_RETURN_IF_ERROR(check.SameShape("y", check.Out(0), "a", check.In(0)));
  return [](const KernelCall& call) {
    const float* a = call.inputs[0].as<const float>();
    const float* b = call.inputs[1].as<const float>();
    float* y = call.outputs[0].as<float>();
    const int64_t n = Rows(call.inputs[0]) * Width(call.inputs[0]);
    call.pool.ParallelFor(n, 16384, [&](int64_t begin, int64_t end, int) {
      Add(a + begin, b + begin, end - begin, y + begin);
    });
  };
}

}  // namespace

const KernelDef kAdd = {"add", Prepare};

}  // namespace renga::cpu
#endif
