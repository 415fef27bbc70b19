// masked_softmax: softmax over the keys a token may see; the others get 0.
#include <algorithm>
#include <limits>

#include "ir/base/status.h"
#include "runtime/device/cpu/kernels.h"
#include "runtime/device/cpu/shapes.h"
#include "runtime/device/cpu/simd.h"
#include "runtime/device/cpu/step_check.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/device/cpu/masked_softmax.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "runtime/device/cpu/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace renga::cpu::HWY_NAMESPACE {

// p[0..n) = e^(s - m) / (sum e^(s - m) + e^(sink - m)); a null sink is absent. In place is fine.
void SoftmaxRow(const float* s, int64_t n, const float* sink, float* p) {
  const DF df;
  constexpr float kLowest = -std::numeric_limits<float>::infinity();
  VF largest = hn::Set(df, sink != nullptr ? *sink : kLowest);
  for (int64_t i = 0; i < n; i += kF) {
    const VF v = i + kF <= n ? hn::LoadU(df, s + i) : LoadPart(s + i, n - i, kLowest);
    largest = hn::Max(largest, v);
  }
  const VF max = hn::MaxOfLanes(df, largest);
  VF sum = hn::Zero(df);
  int64_t i = 0;
  for (; i + kF <= n; i += kF) {
    const VF e = ExpOf(hn::Sub(hn::LoadU(df, s + i), max));
    sum = hn::Add(sum, e);
    hn::StoreU(e, df, p + i);
  }
  if (i < n) {
    StorePart(ExpOf(hn::Sub(LoadPart(s + i, n - i), max)), p + i, n - i);
    sum = hn::Add(sum, LoadPart(p + i, n - i));
  }
  float total = hn::GetLane(hn::SumOfLanes(df, sum));
  if (sink != nullptr) total += hn::GetLane(ExpOf(hn::Sub(hn::Set(df, *sink), max)));
  const VF factor = hn::Set(df, 1.0f / total);
  for (i = 0; i + kF <= n; i += kF) {
    hn::StoreU(hn::Mul(hn::LoadU(df, p + i), factor), df, p + i);
  }
  if (i < n) StorePart(hn::Mul(LoadPart(p + i, n - i), factor), p + i, n - i);
}

}  // namespace renga::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace renga::cpu {

HWY_EXPORT(SoftmaxRow);

namespace {

absl::StatusOr<PreparedKernel> Prepare(const StepSignature& step) {
  const StepCheck check(step, {"s", "pos", "sinks"}, {"p"});
  RENGA_RETURN_IF_ERROR(check.Counts(2));
  RENGA_RETURN_IF_ERROR(check.OnlyAttrs({"causal", "window"}));
  RENGA_ASSIGN_OR_RETURN(const bool causal, check.Bool("causal"));
  RENGA_ASSIGN_OR_RETURN(const int64_t window, check.Int("window"));
  if (window < 0) return check.Error("attribute window is negative, expected 0 (none) or more");
  RENGA_RETURN_IF_ERROR(check.InType(0, {DType::kF32}, 3));
  RENGA_RETURN_IF_ERROR(check.InType(1, {DType::kI32}, 1));
  RENGA_RETURN_IF_ERROR(check.OutType(0, {DType::kF32}, 3));
  RENGA_RETURN_IF_ERROR(check.SameDim("pos", check.In(1), 0, "s", check.In(0).shape[0]));
  RENGA_RETURN_IF_ERROR(check.SameShape("p", check.Out(0), "s", check.In(0)));
  if (const plan::TensorType* sinks = check.Optional(2)) {
    RENGA_RETURN_IF_ERROR(check.InType(2, {DType::kF32}, 1));
    RENGA_RETURN_IF_ERROR(check.SameDim("sinks", *sinks, 0, "s", check.In(0).shape[1]));
  }
  return [=](const KernelCall& call) {
    const TensorRef& s = call.inputs[0];
    const int32_t* pos = call.inputs[1].as<const int32_t>();
    const float* sinks = call.inputs.size() > 2 ? call.inputs[2].as<const float>() : nullptr;
    const int64_t heads = s.dims[1], span = s.dims[2];
    call.pool.ParallelFor(
        s.dims[0] * heads, RowGrain(span * 4), [&](int64_t begin, int64_t end, int) {
          for (int64_t r = begin; r < end; ++r) {
            const int64_t position = pos[r / heads];
            const int64_t to = causal ? std::clamp<int64_t>(position + 1, 0, span) : span;
            const int64_t from =
                window > 0
                    ? std::clamp<int64_t>(position - std::min(window, position + 1) + 1, 0, to)
                    : 0;
            const float* in = s.as<const float>() + r * span;
            float* out = call.outputs[0].as<float>() + r * span;
            std::fill(out, out + from, 0.0f);
            if (from < to) {
              HWY_DYNAMIC_DISPATCH(SoftmaxRow)
              (in + from, to - from, sinks != nullptr ? sinks + r % heads : nullptr, out + from);
            }
            std::fill(out + to, out + span, 0.0f);
          }
        });
  };
}

}  // namespace

const KernelDef kMaskedSoftmax = {"masked_softmax", Prepare};

}  // namespace renga::cpu
#endif
