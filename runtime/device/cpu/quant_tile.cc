// Quantises activations and multiplies them with unpacked rows.
#include <algorithm>
#include <limits>

#include "runtime/device/cpu/quant_ops.h"
#include "runtime/device/cpu/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/device/cpu/quant_tile.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "runtime/device/cpu/quant-inl.h"

HWY_BEFORE_NAMESPACE();
namespace renga::cpu::HWY_NAMESPACE {
namespace {

// Rows and tokens of the innermost product: its accumulators live in registers.
constexpr int kRowsAtOnce = 2;
constexpr int kTokensAtOnce = 4;

// Units of k between visits to the next rows: the tokens' part of it (4 * 2 KiB) stays in the first
// level cache while all rows of the tile pass.
constexpr int64_t kUnitsAtOnce = 1024 / kUnit;

// Adds units [begin, end) of kRows rows times kTokens tokens to acc[row][token].
template <bool kPer16, int kRows, int kTokens>
HWY_INLINE void Multiply(const QuantTile& tile, const QuantTokens& x, int64_t begin, int64_t end,
                         float* HWY_RESTRICT acc_memory) {
  const DFloat df;
  VFloat acc[kRows][kTokens];
  RENGA_UNROLL
  for (int r = 0; r < kRows; ++r) {
    RENGA_UNROLL
    for (int t = 0; t < kTokens; ++t) {
      acc[r][t] = hn::LoadU(df, acc_memory + (r * kTokensAtOnce + t) * kFloats);
    }
  }
  for (int64_t u = begin; u < end; ++u) {
    VFloat scale[kRows];
    RENGA_UNROLL
    for (int r = 0; r < kRows; ++r) {
      scale[r] = UnitScale<kPer16>(tile.scale + r * tile.scale_stride, u);
    }
    RENGA_UNROLL
    for (int t = 0; t < kTokens; ++t) {
      const int16_t* xq = x.q + t * x.q_stride + u * kUnit;
      const VWord even = hn::LoadU(DWord(), xq);
      const VWord odd = hn::LoadU(DWord(), xq + kWords);
      const VFloat sx = hn::Set(df, x.scale[t * x.stride32 + u / kUnitsOf32]);
      RENGA_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const int16_t* wq = tile.q + r * tile.q_stride + u * kUnit;
        const Words w{hn::LoadU(DWord(), wq), hn::LoadU(DWord(), wq + kWords)};
        acc[r][t] = hn::MulAdd(UnitDot(w, even, odd), hn::Mul(scale[r], sx), acc[r][t]);
      }
    }
  }
  RENGA_UNROLL
  for (int r = 0; r < kRows; ++r) {
    RENGA_UNROLL
    for (int t = 0; t < kTokens; ++t) {
      hn::StoreU(acc[r][t], df, acc_memory + (r * kTokensAtOnce + t) * kFloats);
    }
  }
}

template <bool kPer16, int kTokens>
void MultiplyTokens(const QuantOps& ops, const QuantTile& tile, int64_t rows, const QuantTokens& x,
                    int64_t k, float* acc, float* y, int64_t y_stride) {
  constexpr int64_t kRowFloats = kTokensAtOnce * kFloats;
  const int64_t units = k / kUnit;
  std::fill_n(acc, rows * kRowFloats, 0.0f);
  for (int64_t u = 0; u < units; u += kUnitsAtOnce) {
    const int64_t end = std::min(u + kUnitsAtOnce, units);
    int64_t r = 0;
    for (; r + kRowsAtOnce <= rows; r += kRowsAtOnce) {
      Multiply<kPer16, kRowsAtOnce, kTokens>(tile.Row(r), x, u, end, acc + r * kRowFloats);
    }
    for (; r < rows; ++r) {
      Multiply<kPer16, 1, kTokens>(tile.Row(r), x, u, end, acc + r * kRowFloats);
    }
  }
  const int64_t mins = k / (kPer16 ? 16 : 32);
  for (int64_t r = 0; r < rows; ++r) {
    RENGA_UNROLL
    for (int t = 0; t < kTokens; ++t) {
      VFloat min_dot = hn::Zero(DFloat());
      if (ops.mins) {
        const float* sums = kPer16 ? x.sum16 + t * x.stride16 : x.sum32 + t * x.stride32;
        min_dot = MinDot(tile.Row(r).min, sums, mins);
      }
      y[t * y_stride + r] =
          FinishDot(hn::LoadU(DFloat(), acc + r * kRowFloats + t * kFloats), min_dot);
    }
  }
}

template <bool kPer16>
void MultiplyAll(const QuantOps& ops, const QuantTile& tile, int64_t rows, const QuantTokens& x,
                 int64_t tokens, int64_t k, float* acc, float* y, int64_t y_stride) {
  int64_t t = 0;
  for (; t + kTokensAtOnce <= tokens; t += kTokensAtOnce) {
    MultiplyTokens<kPer16, kTokensAtOnce>(ops, tile, rows, x.At(t), k, acc, y + t * y_stride,
                                          y_stride);
  }
  const QuantTokens rest = x.At(t);
  y += t * y_stride;
  static_assert(kTokensAtOnce == 4);
  switch (tokens - t) {
    case 1:
      return MultiplyTokens<kPer16, 1>(ops, tile, rows, rest, k, acc, y, y_stride);
    case 2:
      return MultiplyTokens<kPer16, 2>(ops, tile, rows, rest, k, acc, y, y_stride);
    case 3:
      return MultiplyTokens<kPer16, 3>(ops, tile, rows, rest, k, acc, y, y_stride);
    default:
      return;
  }
}

// Quantises 32 elements. The sum of each 16 goes to sum16.
HWY_INLINE void QuantizeBlock(const float* x, int16_t* q, float* scale, int32_t (&sum16)[2]) {
  constexpr float kLimit = 32767;
  // As integers, magnitudes order like the floats, with infinity and NaN above all.
  constexpr int32_t kInfinity = 0x7F800000;
  const DFloat df;
  const DInt di;
  auto largest_bits = hn::Zero(di);
  for (int i = 0; i < 32; i += kFloats) {
    largest_bits = hn::Max(largest_bits, hn::BitCast(di, hn::Abs(hn::LoadU(df, x + i))));
  }
  const int32_t bits = hn::GetLane(hn::MaxOfLanes(di, largest_bits));
  float largest;
  std::memcpy(&largest, &bits, sizeof(largest));
  float inverse = 0;
  if (bits >= kInfinity) {
    *scale = std::numeric_limits<float>::quiet_NaN();
  } else if (largest <
             1e-33f) {  // the inverse would overflow; nothing a model computes is that small
    *scale = 0;
  } else {
    *scale = largest / kLimit;
    inverse = kLimit / largest;
  }
  const auto inv = hn::Set(df, inverse);
  const hn::Half<DWord> half;
  alignas(32) int32_t sums[32 / 2];  // one lane for two elements
  RENGA_UNROLL
  for (int u = 0; u < kUnitsOf32; ++u) {
    hn::Vec<decltype(half)> even[2], odd[2];
    RENGA_UNROLL
    for (int i = 0; i < 2; ++i) {
      VFloat a, b;
      hn::LoadInterleaved2(df, x + u * kUnit + i * kWords, a, b);
      // An infinity times a zero inverse must not reach the conversion.
      if (bits >= kInfinity) a = b = hn::Zero(df);
      const auto e = hn::NearestInt(hn::Mul(a, inv));
      const auto o = hn::NearestInt(hn::Mul(b, inv));
      hn::Store(hn::Add(e, o), di, sums + (u * 2 + i) * kFloats);
      even[i] = hn::DemoteTo(half, e);
      odd[i] = hn::DemoteTo(half, o);
    }
    hn::StoreU(hn::Combine(DWord(), even[1], even[0]), DWord(), q + u * kUnit);
    hn::StoreU(hn::Combine(DWord(), odd[1], odd[0]), DWord(), q + u * kUnit + kWords);
  }
  for (int s = 0; s < 2; ++s) {
    sum16[s] = 0;
    for (int i = 0; i < 8; ++i) sum16[s] += sums[8 * s + i];
  }
}

void QuantizeAll(const float* x, int64_t tokens, int64_t k, const QuantTokens& out) {
  for (int64_t t = 0; t < tokens; ++t) {
    const QuantTokens row = out.At(t);
    int16_t* q = const_cast<int16_t*>(row.q);
    float* scale = const_cast<float*>(row.scale);
    int32_t* total16 = const_cast<int32_t*>(row.total16);
    int32_t* total32 = const_cast<int32_t*>(row.total32);
    float* sum16 = const_cast<float*>(row.sum16);
    float* sum32 = const_cast<float*>(row.sum32);
    for (int64_t b = 0; b < k / 32; ++b) {
      int32_t sums[2];
      QuantizeBlock(x + t * k + b * 32, q + b * 32, scale + b, sums);
      for (int i = 0; i < 2; ++i) {
        total16[2 * b + i] = sums[i];
        sum16[2 * b + i] = scale[b] * static_cast<float>(sums[i]);
      }
      total32[b] = sums[0] + sums[1];
      sum32[b] = scale[b] * static_cast<float>(total32[b]);
    }
    std::fill(sum16 + k / 16, sum16 + out.stride16, 0.0f);
    std::fill(sum32 + k / 32, sum32 + out.stride32, 0.0f);
  }
}

}  // namespace

void MultiplyTileImpl(const QuantOps& ops, const QuantTile& tile, int64_t rows,
                      const QuantTokens& x, int64_t tokens, int64_t k, float* acc, float* y,
                      int64_t y_stride) {
  (ops.per16 ? MultiplyAll<true> : MultiplyAll<false>)(ops, tile, rows, x, tokens, k, acc, y,
                                                       y_stride);
}

void QuantizeTokensImpl(const float* x, int64_t tokens, int64_t k, const QuantTokens& out) {
  QuantizeAll(x, tokens, k, out);
}

int UnitWordsImpl() { return kWords; }

}  // namespace renga::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace renga::cpu {

HWY_EXPORT(MultiplyTileImpl);
HWY_EXPORT(QuantizeTokensImpl);
HWY_EXPORT(UnitWordsImpl);

void MultiplyTile(const QuantOps& ops, const QuantTile& tile, int64_t rows, const QuantTokens& x,
                  int64_t tokens, int64_t k, float* accumulators, float* y, int64_t y_stride) {
  HWY_DYNAMIC_DISPATCH(MultiplyTileImpl)
  (ops, tile, rows, x, tokens, k, accumulators, y, y_stride);
}

void QuantizeTokens(const float* x, int64_t tokens, int64_t k, const QuantTokens& out) {
  HWY_DYNAMIC_DISPATCH(QuantizeTokensImpl)(x, tokens, k, out);
}

int UnitWords() { return HWY_DYNAMIC_DISPATCH(UnitWordsImpl)(); }

// Four tokens of at most eight lanes.
int64_t TileAccumulators(int64_t rows) { return rows * 4 * 8; }

const QuantOps* FindQuantOps(DType type) {
  for (const absl::Span<const QuantOps> table : {Block32Ops(), SuperBlockOps(), RareOps()}) {
    for (const QuantOps& ops : table) {
      if (ops.type == type) return &ops;
    }
  }
  return nullptr;
}

}  // namespace renga::cpu
#endif
