// The two ways through stored rows, for any type described by a policy P:
//
//   struct P {
//     static constexpr DType kType;
//     static constexpr int kBlock;        // elements: 32 or 256
//     static constexpr int kBytes;        // of a block
//     static constexpr bool kPer16, kMins;
//     // Scales, and minima if kMins, of a block: kBlock / 16 or kBlock / 32 floats each.
//     static void Scales(const uint8_t* block, float* scale, float* min);
//     // Elements [kU * kUnit, (kU + 1) * kUnit) of a block.
//     template <int kU> static Words Unit(const uint8_t* block);
//   };
//
// A policy is all there is to know of a layout; a repacked layout is another policy.
#if defined(RENGA_RUNTIME_DEVICE_CPU_QUANT_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RENGA_RUNTIME_DEVICE_CPU_QUANT_ROWS_INL_H_
#undef RENGA_RUNTIME_DEVICE_CPU_QUANT_ROWS_INL_H_
#else
#define RENGA_RUNTIME_DEVICE_CPU_QUANT_ROWS_INL_H_
#endif

#include <algorithm>

#include "hwy/cache_control.h"
#include "runtime/device/cpu/quant-inl.h"
#include "runtime/device/cpu/simd.h"

HWY_BEFORE_NAMESPACE();
namespace renga::cpu::HWY_NAMESPACE {

template <class P>
inline constexpr int kBlockScales = P::kBlock / (P::kPer16 ? 16 : 32);

template <class P, int kU = 0>
HWY_INLINE void StoreUnits(const uint8_t* block, int16_t* q) {
  if constexpr (kU < P::kBlock / kUnit) {
    const Words w = P::template Unit<kU>(block);
    hn::StoreU(w.even, DWord(), q + kU * kUnit);
    hn::StoreU(w.odd, DWord(), q + kU * kUnit + kWords);
    StoreUnits<P, kU + 1>(block, q);
  }
}

template <class P>
void UnpackRow(const uint8_t* row, int64_t k, QuantTile out) {
  const int64_t blocks = k / P::kBlock;
  for (int64_t b = 0; b < blocks; ++b) {
    P::Scales(row, out.scale + b * kBlockScales<P>, out.min + b * kBlockScales<P>);
    StoreUnits<P>(row, out.q + b * P::kBlock);
    row += P::kBytes;
  }
  if constexpr (P::kMins) {
    for (int64_t i = blocks * kBlockScales<P>; i < out.scale_stride; ++i) out.min[i] = 0;
  }
}

// Bytes ahead of use at which weights are asked for: what memory delivers while one core works
// through a few rows. Hardware prefetchers lose track of rows read side by side.
constexpr int64_t kPrefetchBytes = 2048;

HWY_INLINE void PrefetchAt(const uint8_t* p, int64_t offset) {
  // As a number: the address may lie behind the weights, where a prefetch does nothing.
  hwy::Prefetch(reinterpret_cast<const uint8_t*>(reinterpret_cast<uintptr_t>(p) +
                                                 static_cast<uintptr_t>(offset)));
}

// Adds a block of kRows rows to their accumulators. `s` holds each row's scales of the block.
template <class P, int kRows, int kU = 0>
HWY_INLINE void DotUnits(const uint8_t* block, int64_t row_bytes, int64_t ahead, const int16_t* xq,
                         const float* xscale, const float (*s)[16 + 8], VFloat (&acc)[kRows]) {
  if constexpr (kU < P::kBlock / kUnit) {
    const VWord x_even = hn::LoadU(DWord(), xq + kU * kUnit);
    const VWord x_odd = hn::LoadU(DWord(), xq + kU * kUnit + kWords);
    const VFloat sx = hn::Set(DFloat(), xscale[kU / kUnitsOf32]);
    RENGA_UNROLL
    for (int r = 0; r < kRows; ++r) {
      PrefetchAt(block + r * row_bytes, ahead + kU * P::kBytes / (P::kBlock / kUnit));
      const VFloat dot = UnitDot(P::template Unit<kU>(block + r * row_bytes), x_even, x_odd);
      acc[r] = hn::MulAdd(dot, hn::Mul(UnitScale<P::kPer16>(s[r], kU), sx), acc[r]);
    }
    DotUnits<P, kRows, kU + 1>(block, row_bytes, ahead, xq, xscale, s, acc);
  }
}

template <class P, int kRows>
HWY_INLINE void DotSomeRows(const uint8_t* row, int64_t row_bytes, int64_t k, const QuantTokens& x,
                            float* min_scratch, float* y) {
  constexpr int kScales = kBlockScales<P>;
  const int64_t stride = ScaleStride(k);
  const int64_t ahead = std::max(kRows * row_bytes, kPrefetchBytes);
  VFloat acc[kRows];
  RENGA_UNROLL
  for (int r = 0; r < kRows; ++r) acc[r] = hn::Zero(DFloat());
  const int64_t blocks = k / P::kBlock;
  alignas(32) float s[kRows][16 + 8];
  for (int64_t b = 0; b < blocks; ++b) {
    RENGA_UNROLL
    for (int r = 0; r < kRows; ++r) {
      P::Scales(row + b * P::kBytes + r * row_bytes, s[r], min_scratch + r * stride + b * kScales);
    }
    DotUnits<P, kRows>(row + b * P::kBytes, row_bytes, ahead, x.q + b * P::kBlock,
                       x.scale + b * (P::kBlock / 32), s, acc);
  }
  RENGA_UNROLL
  for (int r = 0; r < kRows; ++r) {
    VFloat min_dot = hn::Zero(DFloat());
    if constexpr (P::kMins) {
      const int64_t n = blocks * kScales;
      float* min = min_scratch + r * stride;
      for (int64_t i = n; i < n + kFloats; ++i) min[i] = 0;
      min_dot = MinDot(min, P::kPer16 ? x.sum16 : x.sum32, n);
    }
    y[r] = FinishDot(acc[r], min_dot);
  }
}

template <class P>
void DotRows(const uint8_t* row, int64_t row_bytes, int64_t rows, int64_t k, const QuantTokens& x,
             float* min_scratch, float* y) {
  // Several rows share the loads of x, and their chains of additions overlap.
  constexpr int kRows = 2;
  int64_t r = 0;
  for (; r + kRows <= rows; r += kRows) {
    DotSomeRows<P, kRows>(row + r * row_bytes, row_bytes, k, x, min_scratch, y + r);
  }
  for (; r < rows; ++r) {
    DotSomeRows<P, 1>(row + r * row_bytes, row_bytes, k, x, min_scratch, y + r);
  }
}

template <class P>
constexpr QuantOps MakeOps() {
  return {P::kType, P::kPer16, P::kMins, UnpackRow<P>, DotRows<P>};
}

}  // namespace renga::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // RENGA_RUNTIME_DEVICE_CPU_QUANT_ROWS_INL_H_
