// Vector helpers of the quantised linear kernels, compiled once for each instruction set.
#if defined(RENGA_RUNTIME_DEVICE_CPU_QUANT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RENGA_RUNTIME_DEVICE_CPU_QUANT_INL_H_
#undef RENGA_RUNTIME_DEVICE_CPU_QUANT_INL_H_
#else
#define RENGA_RUNTIME_DEVICE_CPU_QUANT_INL_H_
#endif

#include <cstring>

#include "hwy/highway.h"
#include "runtime/device/cpu/quant_ops.h"

HWY_BEFORE_NAMESPACE();
namespace renga::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// At most 256 bits: a unit of 512 would straddle two blocks of 32 and need two scales.
using DWord = hn::CappedTag<int16_t, 16>;
using DUWord = hn::Repartition<uint16_t, DWord>;
using DByte = hn::Repartition<uint8_t, DWord>;
using DInt = hn::Repartition<int32_t, DWord>;
using DUInt = hn::Repartition<uint32_t, DWord>;
using DFloat = hn::Repartition<float, DWord>;
using VWord = hn::Vec<DWord>;
using VByte = hn::Vec<DByte>;
using VFloat = hn::Vec<DFloat>;

constexpr int kWords = static_cast<int>(hn::MaxLanes(DWord()));  // N
constexpr int kUnit = 2 * kWords;                                // elements
constexpr int kFloats = static_cast<int>(hn::MaxLanes(DFloat()));
constexpr int kUnitsOf32 = 32 / kUnit;
static_assert(kUnit == 16 || kUnit == 32);

// Even and odd elements of a unit.
struct Words {
  VWord even;
  VWord odd;
};

HWY_INLINE float HalfAt(const uint8_t* p) {
  uint16_t bits;
  std::memcpy(&bits, p, sizeof(bits));
  const hn::FixedTag<float, 4> df;
  const hn::Rebind<uint16_t, decltype(df)> du;
  const hn::Rebind<hwy::float16_t, decltype(df)> dh;
  return hn::GetLane(hn::PromoteTo(df, hn::BitCast(dh, hn::Set(du, bits))));
}

HWY_INLINE VByte LoadBytes(const uint8_t* p) { return hn::LoadU(DByte(), p); }

// Unsigned bytes in element order -> words.
HWY_INLINE Words SplitUnsigned(VByte bytes) {
  const DUWord du;
  const auto v = hn::BitCast(du, bytes);
  return {hn::BitCast(DWord(), hn::And(v, hn::Set(du, 0x00FF))),
          hn::BitCast(DWord(), hn::ShiftRight<8>(v))};
}

// The same for signed bytes.
HWY_INLINE Words SplitSigned(VByte bytes) {
  const auto v = hn::BitCast(DWord(), bytes);
  return {hn::ShiftRight<8>(hn::ShiftLeft<8>(v)), hn::ShiftRight<8>(v)};
}

template <int kShift>
HWY_INLINE VByte ShiftAndMask(VByte bytes, uint8_t mask) {
  const DUWord du;
  return hn::And(hn::BitCast(DByte(), hn::ShiftRight<kShift>(hn::BitCast(du, bytes))),
                 hn::Set(DByte(), mask));
}

// Nibbles of 16 bytes that hold 32 elements, the low nibbles being the first 16: those of unit kU
// of the 32, as bytes.
template <int kU>
HWY_INLINE VByte Nibbles16(const uint8_t* p) {
  if constexpr (kUnit == 32) {
    alignas(32) static constexpr uint32_t kShifts[8] = {0, 0, 0, 0, 4, 4, 4, 4};
    const DUInt du;
    const auto both = hn::BitCast(du, hn::LoadDup128(DByte(), p));
    return hn::And(hn::BitCast(DByte(), hn::Shr(both, hn::Load(du, kShifts))),
                   hn::Set(DByte(), 0x0F));
  } else {
    return ShiftAndMask<4 * kU>(LoadBytes(p), 0x0F);
  }
}

// The exact integer products of a unit, summed so that a lane group of four holds 16 elements' sum.
HWY_INLINE VFloat UnitDot(const Words& w, VWord x_even, VWord x_odd) {
  const DInt di;
  auto sum1 = hn::Zero(di);
  auto sum0 = hn::ReorderWidenMulAccumulate(di, w.even, x_even, hn::Zero(di), sum1);
  sum0 = hn::ReorderWidenMulAccumulate(di, w.odd, x_odd, sum0, sum1);
  return hn::ConvertTo(DFloat(), hn::RearrangeToOddPlusEven(sum0, sum1));
}

// The weight's scale in every lane of unit u (counted from where `scale` starts).
template <bool kPer16>
HWY_INLINE VFloat UnitScale(const float* scale, int64_t u) {
  const DFloat df;
  if constexpr (!kPer16) {
    return hn::Set(df, scale[u / kUnitsOf32]);
  } else if constexpr (kUnit == 16) {
    return hn::Set(df, scale[u]);
  } else {
    alignas(32) static constexpr int32_t kSpread[8] = {0, 0, 0, 0, 1, 1, 1, 1};
    // One 64-bit load: it can be served from the write buffer where the scales were just computed.
    uint64_t pair;
    std::memcpy(&pair, scale + 2 * u, sizeof(pair));
    const VFloat both = hn::BitCast(df, hn::Set(hn::Repartition<uint64_t, DFloat>(), pair));
    return hn::TableLookupLanes(both, hn::SetTableIndices(df, kSpread));
  }
}

// Sum of min[i] * sum[i], both padded with zeros to whole vectors.
HWY_INLINE VFloat MinDot(const float* min, const float* sum, int64_t n) {
  const DFloat df;
  VFloat total = hn::Zero(df);
  for (int64_t i = 0; i < n; i += kFloats) {
    total = hn::MulAdd(hn::LoadU(df, min + i), hn::LoadU(df, sum + i), total);
  }
  return total;
}

// The last steps of an element of y: `min_dot` is zero for types without minima.
HWY_INLINE float FinishDot(VFloat acc, VFloat min_dot) {
  const DFloat df;
  return hn::GetLane(hn::SumOfLanes(df, hn::Add(acc, min_dot)));
}

}  // namespace renga::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // RENGA_RUNTIME_DEVICE_CPU_QUANT_INL_H_
