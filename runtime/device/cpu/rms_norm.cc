// rms_norm: y = x * weight / sqrt(mean(x^2) + eps) over the last axis.
#include "runtime/device/cpu/rms_norm.h"

#include <cmath>

#include "ir/base/status.h"
#include "ir/base/strings.h"
#include "runtime/device/cpu/kernels.h"
#include "runtime/device/cpu/shapes.h"
#include "runtime/device/cpu/simd.h"
#include "runtime/device/cpu/step_check.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/device/cpu/rms_norm.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "runtime/device/cpu/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace renga::cpu::HWY_NAMESPACE {

void RmsNormRowImpl(const float* x, const float* weight, int64_t n, double eps, float* y) {
  const DF df;
  // In double: squares of large outliers would otherwise swallow the rest of a row.
  const hn::Repartition<double, DF> dd;
  const hn::Half<DF> half;
  auto low = hn::Zero(dd), high = hn::Zero(dd);
  for (int64_t i = 0; i < n; i += kF) {
    const VF v = i + kF <= n ? hn::LoadU(df, x + i) : LoadPart(x + i, n - i);
    const auto a = hn::PromoteTo(dd, hn::LowerHalf(half, v));
    const auto b = hn::PromoteTo(dd, hn::UpperHalf(half, v));
    low = hn::MulAdd(a, a, low);
    high = hn::MulAdd(b, b, high);
  }
  const double sum = hn::GetLane(hn::SumOfLanes(dd, hn::Add(low, high)));
  const VF scale =
      hn::Set(df, static_cast<float>(1.0 / std::sqrt(sum / static_cast<double>(n) + eps)));
  int64_t i = 0;
  for (; i + kF <= n; i += kF) {
    const VF v = hn::Mul(hn::LoadU(df, x + i), scale);
    hn::StoreU(hn::Mul(v, hn::LoadU(df, weight + i)), df, y + i);
  }
  if (i < n) {
    const VF v = hn::Mul(LoadPart(x + i, n - i), scale);
    StorePart(hn::Mul(v, LoadPart(weight + i, n - i)), y + i, n - i);
  }
}

}  // namespace renga::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace renga::cpu {

HWY_EXPORT(RmsNormRowImpl);

void RmsNormRow(const float* x, const float* weight, int64_t n, double eps, float* y) {
  HWY_DYNAMIC_DISPATCH(RmsNormRowImpl)(x, weight, n, eps, y);
}

absl::StatusOr<double> CheckEps(const StepCheck& check, std::string_view name) {
  RENGA_ASSIGN_OR_RETURN(const double eps, check.Float(name));
  if (eps >= 0) return eps;
  return check.Error(StrCat("attribute ", name, " is negative, expected 0 or more"));
}

absl::StatusOr<double> CheckNorm(const StepCheck& check, size_t norm, std::string_view name,
                                 const plan::Dim& width, std::string_view of,
                                 std::string_view eps) {
  const plan::TensorType* weight = check.Optional(norm);
  if (weight != nullptr) {
    RENGA_RETURN_IF_ERROR(check.InType(norm, {DType::kF32}, 1));
    RENGA_RETURN_IF_ERROR(check.SameDim(name, *weight, 0, of, width));
    return CheckEps(check, eps);
  }
  if (!check.HasAttr(eps)) return 0.0;
  return check.Error(StrCat("attribute ", eps, " is given, expected none as there is no ", name));
}

InputRows::InputRows(const TensorRef& x, const TensorRef* norm, double eps, ThreadPool& pool)
    : x_(x.as<const float>()),
      norm_(norm == nullptr ? nullptr : norm->as<const float>()),
      width_(Width(x)),
      eps_(eps),
      pool_(pool) {}

const float* InputRows::operator()(int64_t row, int worker) const {
  const float* x = x_ + row * width_;
  if (norm_ == nullptr) return x;
  float* normed = reinterpret_cast<float*>(pool_.Scratch(worker, Scratch(width_)));
  RmsNormRow(x, norm_, width_, eps_, normed);
  return normed;
}

namespace {

absl::StatusOr<PreparedKernel> Prepare(const StepSignature& step) {
  const StepCheck check(step, {"x", "weight"}, {"y"});
  RENGA_RETURN_IF_ERROR(check.Counts(2));
  RENGA_RETURN_IF_ERROR(check.OnlyAttrs({"eps"}));
  RENGA_ASSIGN_OR_RETURN(const double eps, CheckEps(check, "eps"));
  RENGA_RETURN_IF_ERROR(check.InType(0, {DType::kF32}, 0));
  RENGA_RETURN_IF_ERROR(check.InType(1, {DType::kF32}, 1));
  RENGA_RETURN_IF_ERROR(check.OutType(0, {DType::kF32}, 0));
  RENGA_RETURN_IF_ERROR(check.SameDim("weight", check.In(1), 0, "x", check.In(0).shape.back()));
  RENGA_RETURN_IF_ERROR(check.SameShape("y", check.Out(0), "x", check.In(0)));
  return [eps](const KernelCall& call) {
    const float* x = call.inputs[0].as<const float>();
    const float* weight = call.inputs[1].as<const float>();
    float* y = call.outputs[0].as<float>();
    const int64_t n = Width(call.inputs[0]);
    call.pool.ParallelFor(Rows(call.inputs[0]), RowGrain(n), [&](int64_t begin, int64_t end, int) {
      for (int64_t r = begin; r < end; ++r) {
        RmsNormRow(x + r * n, weight, n, eps, y + r * n);
      }
    });
  };
}

}  // namespace

const KernelDef kRmsNorm = {"rms_norm", Prepare};

}  // namespace renga::cpu
#endif
