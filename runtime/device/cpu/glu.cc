// glu: y = activation(gate) * up.
#include "runtime/device/cpu/glu.h"

#include "ir/base/status.h"
#include "runtime/device/cpu/kernels.h"
#include "runtime/device/cpu/shapes.h"
#include "runtime/device/cpu/simd.h"
#include "runtime/device/cpu/step_check.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/device/cpu/glu.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "runtime/device/cpu/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace renga::cpu::HWY_NAMESPACE {
namespace {

// g / (1 + e^-z) * up
HWY_INLINE VF Gate(VF g, VF z, VF up) {
  const VF one = hn::Set(DF(), 1.0f);
  return hn::Mul(hn::Div(g, hn::Add(one, ExpOf(hn::Neg(z)))), up);
}

struct Silu {
  HWY_INLINE VF operator()(VF g, VF up) const { return Gate(g, g, up); }
};

// g/2 (1 + tanh u) is g / (1 + e^-2u), with u = sqrt(2/pi) (g + 0.044715 g^3).
struct GeluTanh {
  HWY_INLINE VF operator()(VF g, VF up) const {
    const DF df;
    const VF cubic = hn::MulAdd(hn::Mul(hn::Set(df, 0.044715f), hn::Mul(g, g)), g, g);
    return Gate(g, hn::Mul(hn::Set(df, 1.5957691216057308f), cubic), up);
  }
};

}  // namespace

void SiluRow(const float* gate, const float* up, int64_t n, float* y) {
  ForEach(gate, up, n, y, Silu());
}
void GeluTanhRow(const float* gate, const float* up, int64_t n, float* y) {
  ForEach(gate, up, n, y, GeluTanh());
}

}  // namespace renga::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace renga::cpu {

HWY_EXPORT(SiluRow);
HWY_EXPORT(GeluTanhRow);

void Glu(bool silu, const float* gate, const float* up, int64_t n, float* y) {
  (silu ? HWY_DYNAMIC_DISPATCH(SiluRow) : HWY_DYNAMIC_DISPATCH(GeluTanhRow))(gate, up, n, y);
}

absl::StatusOr<bool> IsSilu(const StepCheck& check) {
  const absl::StatusOr<std::string> activation = check.OneOf("activation", {"silu", "gelu_tanh"});
  if (!activation.ok()) return activation.status();
  return *activation == "silu";
}

namespace {

absl::StatusOr<PreparedKernel> Prepare(const StepSignature& step) {
  const StepCheck check(step, {"gate", "up"}, {"y"});
  RENGA_RETURN_IF_ERROR(check.Counts(2));
  RENGA_RETURN_IF_ERROR(check.OnlyAttrs({"activation"}));
  RENGA_ASSIGN_OR_RETURN(const bool silu, IsSilu(check));
  RENGA_RETURN_IF_ERROR(check.InType(0, {DType::kF32}, 0));
  RENGA_RETURN_IF_ERROR(check.InType(1, {DType::kF32}, 0));
  RENGA_RETURN_IF_ERROR(check.OutType(0, {DType::kF32}, 0));
  RENGA_RETURN_IF_ERROR(check.SameShape("up", check.In(1), "gate", check.In(0)));
  RENGA_RETURN_IF_ERROR(check.SameShape("y", check.Out(0), "gate", check.In(0)));
  return [silu](const KernelCall& call) {
    const float* gate = call.inputs[0].as<const float>();
    const float* up = call.inputs[1].as<const float>();
    float* y = call.outputs[0].as<float>();
    const int64_t n = Rows(call.inputs[0]) * Width(call.inputs[0]);
    call.pool.ParallelFor(n, 2048, [&](int64_t begin, int64_t end, int) {
      Glu(silu, gate + begin, up + begin, end - begin, y + begin);
    });
  };
}

}  // namespace

const KernelDef kGlu = {"glu", Prepare};

}  // namespace renga::cpu
#endif
