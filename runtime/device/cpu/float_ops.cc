#include "runtime/device/cpu/float_ops.h"

#include <algorithm>
#include <cstring>

#include "runtime/device/cpu/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/device/cpu/float_ops.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace renga::cpu::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using DFloat = hn::CappedTag<float, 16>;
using VFloat = hn::Vec<DFloat>;
constexpr int64_t kLanes = static_cast<int64_t>(hn::MaxLanes(DFloat()));

// Elements of k between visits to the next rows, so that the tokens' part stays in the first cache.
constexpr int64_t kAtOnce = 512;
constexpr int kRowsAtOnce = 2;
constexpr int kTokensAtOnce = 4;

// The stored types: T is what Highway calls them.
template <typename T>
HWY_INLINE VFloat LoadFloats(const uint8_t* p) {
  const DFloat df;
  if constexpr (sizeof(T) == 4) {
    return hn::LoadU(df, reinterpret_cast<const float*>(p));
  } else {
    return hn::PromoteTo(df, hn::LoadU(hn::Rebind<T, DFloat>(), reinterpret_cast<const T*>(p)));
  }
}

// The last `n` < kLanes elements of a row, zeros behind them.
template <typename T>
HWY_INLINE VFloat LoadTail(const uint8_t* p, int64_t n) {
  alignas(64) uint8_t padded[kLanes * sizeof(T)] = {};
  std::memcpy(padded, p, n * sizeof(T));
  return LoadFloats<T>(padded);
}

template <typename T>
void Unpack(const uint8_t* row, int64_t k, float* out) {
  const DFloat df;
  int64_t i = 0;
  for (; i + kLanes <= k; i += kLanes) hn::StoreU(LoadFloats<T>(row + i * sizeof(T)), df, out + i);
  if (i < k) {
    hn::StoreU(LoadTail<T>(row + i * sizeof(T), k - i), df, out + i);
    i += kLanes;
  }
  for (const int64_t end = FloatStride(k); i < end; ++i) out[i] = 0;
}

template <typename T, int kRows>
HWY_INLINE void DotSomeRows(const uint8_t* row, int64_t row_bytes, int64_t k, const float* x,
                            float* y) {
  const DFloat df;
  VFloat acc[kRows];
  RENGA_UNROLL
  for (int r = 0; r < kRows; ++r) acc[r] = hn::Zero(df);
  int64_t i = 0;
  for (; i + kLanes <= k; i += kLanes) {
    const VFloat v = hn::LoadU(df, x + i);
    RENGA_UNROLL
    for (int r = 0; r < kRows; ++r) {
      acc[r] = hn::MulAdd(LoadFloats<T>(row + r * row_bytes + i * sizeof(T)), v, acc[r]);
    }
  }
  if (i < k) {
    const VFloat v = hn::LoadU(df, x + i);
    RENGA_UNROLL
    for (int r = 0; r < kRows; ++r) {
      acc[r] = hn::MulAdd(LoadTail<T>(row + r * row_bytes + i * sizeof(T), k - i), v, acc[r]);
    }
  }
  RENGA_UNROLL
  for (int r = 0; r < kRows; ++r) y[r] = hn::GetLane(hn::SumOfLanes(df, acc[r]));
}

template <typename T>
void DotRows(const uint8_t* row, int64_t row_bytes, int64_t rows, int64_t k, const float* x,
             float* y) {
  int64_t r = 0;
  for (; r + 4 <= rows; r += 4) DotSomeRows<T, 4>(row + r * row_bytes, row_bytes, k, x, y + r);
  for (; r < rows; ++r) DotSomeRows<T, 1>(row + r * row_bytes, row_bytes, k, x, y + r);
}

template <int kRows, int kTokens>
HWY_INLINE void Multiply(const float* w, const float* x, int64_t stride, int64_t begin, int64_t end,
                         float* HWY_RESTRICT acc_memory) {
  const DFloat df;
  VFloat acc[kRows][kTokens];
  RENGA_UNROLL
  for (int r = 0; r < kRows; ++r) {
    RENGA_UNROLL
    for (int t = 0; t < kTokens; ++t) {
      acc[r][t] = hn::LoadU(df, acc_memory + (r * kTokensAtOnce + t) * kLanes);
    }
  }
  for (int64_t i = begin; i < end; i += kLanes) {
    VFloat row[kRows];
    RENGA_UNROLL
    for (int r = 0; r < kRows; ++r) row[r] = hn::LoadU(df, w + r * stride + i);
    RENGA_UNROLL
    for (int t = 0; t < kTokens; ++t) {
      const VFloat v = hn::LoadU(df, x + t * stride + i);
      RENGA_UNROLL
      for (int r = 0; r < kRows; ++r) acc[r][t] = hn::MulAdd(row[r], v, acc[r][t]);
    }
  }
  RENGA_UNROLL
  for (int r = 0; r < kRows; ++r) {
    RENGA_UNROLL
    for (int t = 0; t < kTokens; ++t) {
      hn::StoreU(acc[r][t], df, acc_memory + (r * kTokensAtOnce + t) * kLanes);
    }
  }
}

template <int kTokens>
void MultiplyTokens(const float* tile, int64_t rows, const float* x, int64_t k, float* acc,
                    float* y, int64_t y_stride) {
  constexpr int64_t kRowFloats = kTokensAtOnce * kLanes;
  const int64_t stride = FloatStride(k);
  const int64_t whole = (k + kLanes - 1) / kLanes * kLanes;
  std::fill_n(acc, rows * kRowFloats, 0.0f);
  for (int64_t i = 0; i < whole; i += kAtOnce) {
    const int64_t end = std::min(i + kAtOnce, whole);
    int64_t r = 0;
    for (; r + kRowsAtOnce <= rows; r += kRowsAtOnce) {
      Multiply<kRowsAtOnce, kTokens>(tile + r * stride, x, stride, i, end, acc + r * kRowFloats);
    }
    for (; r < rows; ++r) {
      Multiply<1, kTokens>(tile + r * stride, x, stride, i, end, acc + r * kRowFloats);
    }
  }
  const DFloat df;
  for (int64_t r = 0; r < rows; ++r) {
    RENGA_UNROLL
    for (int t = 0; t < kTokens; ++t) {
      y[t * y_stride + r] =
          hn::GetLane(hn::SumOfLanes(df, hn::LoadU(df, acc + r * kRowFloats + t * kLanes)));
    }
  }
}

const FloatOps kOps[] = {
    {DType::kF32, Unpack<float>, DotRows<float>},
    {DType::kF16, Unpack<hwy::float16_t>, DotRows<hwy::float16_t>},
    {DType::kBF16, Unpack<hwy::bfloat16_t>, DotRows<hwy::bfloat16_t>},
};

}  // namespace

const FloatOps* FindFloatOpsImpl(DType type) {
  for (const FloatOps& ops : kOps) {
    if (ops.type == type) return &ops;
  }
  return nullptr;
}

void MultiplyFloatTileImpl(const float* tile, int64_t rows, const float* x, int64_t tokens,
                           int64_t k, float* acc, float* y, int64_t y_stride) {
  const int64_t stride = FloatStride(k);
  int64_t t = 0;
  for (; t + kTokensAtOnce <= tokens; t += kTokensAtOnce) {
    MultiplyTokens<kTokensAtOnce>(tile, rows, x + t * stride, k, acc, y + t * y_stride, y_stride);
  }
  for (; t < tokens; ++t) {
    MultiplyTokens<1>(tile, rows, x + t * stride, k, acc, y + t * y_stride, y_stride);
  }
}

}  // namespace renga::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace renga::cpu {

HWY_EXPORT(FindFloatOpsImpl);
HWY_EXPORT(MultiplyFloatTileImpl);

const FloatOps* FindFloatOps(DType type) { return HWY_DYNAMIC_DISPATCH(FindFloatOpsImpl)(type); }

void MultiplyFloatTile(const float* tile, int64_t rows, const float* x, int64_t tokens, int64_t k,
                       float* accumulators, float* y, int64_t y_stride) {
  HWY_DYNAMIC_DISPATCH(MultiplyFloatTileImpl)
  (tile, rows, x, tokens, k, accumulators, y, y_stride);
}

}  // namespace renga::cpu
#endif
