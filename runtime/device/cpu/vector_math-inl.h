// Float vector loops shared by the element-wise and attention kernels, compiled once for each
// instruction set.
#if defined(RENGA_RUNTIME_DEVICE_CPU_VECTOR_MATH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RENGA_RUNTIME_DEVICE_CPU_VECTOR_MATH_INL_H_
#undef RENGA_RUNTIME_DEVICE_CPU_VECTOR_MATH_INL_H_
#else
#define RENGA_RUNTIME_DEVICE_CPU_VECTOR_MATH_INL_H_
#endif

#include <cstdint>
#include <cstring>

#include "hwy/contrib/math/math-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace renga::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// 256 bits: more gain nothing in these loops, whose rows are short.
using DF = hn::CappedTag<float, 8>;
using VF = hn::Vec<DF>;
constexpr int64_t kF = static_cast<int64_t>(hn::MaxLanes(DF()));

// n < kF floats, zeros (or `fill`) behind them.
HWY_INLINE VF LoadPart(const float* p, int64_t n, float fill = 0) {
  alignas(32) float part[kF];
  for (int64_t i = 0; i < kF; ++i) part[i] = i < n ? p[i] : fill;
  return hn::Load(DF(), part);
}

HWY_INLINE void StorePart(VF v, float* p, int64_t n) {
  alignas(32) float part[kF];
  hn::Store(v, DF(), part);
  for (int64_t i = 0; i < n; ++i) p[i] = part[i];
}

// out[i] = op(a[i], b[i]); op is called with vectors. In place is fine.
template <typename Op>
HWY_INLINE void ForEach(const float* a, const float* b, int64_t n, float* out, const Op& op) {
  int64_t i = 0;
  for (; i + kF <= n; i += kF) {
    hn::StoreU(op(hn::LoadU(DF(), a + i), hn::LoadU(DF(), b + i)), DF(), out + i);
  }
  if (i < n) StorePart(op(LoadPart(a + i, n - i), LoadPart(b + i, n - i)), out + i, n - i);
}

// e^x to within an ulp or two; 0 far below, finite up to x = 88.
HWY_INLINE VF ExpOf(VF x) { return hn::Exp(DF(), hn::Min(x, hn::Set(DF(), 88.0f))); }

// The four vectors' sums, in this order.
template <class V>
HWY_INLINE hn::Vec<hn::FixedTag<float, 4>> SumFour(V a, V b, V c, V d) {
  const DF df;
  const hn::Repartition<double, DF> dd;  // pairs of floats
  const V ab = hn::Add(hn::InterleaveLower(df, a, b), hn::InterleaveUpper(df, a, b));
  const V cd = hn::Add(hn::InterleaveLower(df, c, d), hn::InterleaveUpper(df, c, d));
  const auto x = hn::BitCast(dd, ab), y = hn::BitCast(dd, cd);
  const V sum = hn::Add(hn::BitCast(df, hn::InterleaveLower(dd, x, y)),
                        hn::BitCast(df, hn::InterleaveUpper(dd, x, y)));
  if constexpr (kF == 4) {
    return sum;
  } else {
    const hn::Half<DF> half;
    return hn::Add(hn::LowerHalf(half, sum), hn::UpperHalf(half, sum));
  }
}

}  // namespace renga::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // RENGA_RUNTIME_DEVICE_CPU_VECTOR_MATH_INL_H_
