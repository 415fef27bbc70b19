#include "runtime/device/cpu/attention_math.h"

#include <algorithm>
#include <limits>
#include <type_traits>

#include "runtime/device/cpu/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/device/cpu/attention_math.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "runtime/device/cpu/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace renga::cpu::HWY_NAMESPACE {
namespace {

constexpr int64_t kBlock = QueryRows::kPositions;
constexpr float kLowest = -std::numeric_limits<float>::infinity();

// e^x for x <= 0. Not a number stays one: it must be seen in the result.
HWY_INLINE VF ExpBelow(VF x) { return hn::IfThenElse(hn::IsNaN(x), x, hn::Exp(DF(), x)); }

HWY_INLINE float ExpBelow(float x) { return hn::GetLane(ExpBelow(hn::Set(DF(), x))); }

// Where the keys or values of a block are: converted, one after the other,
struct Converted {
  const float* rows;
  int64_t stride;
  HWY_INLINE VF Load(int64_t j, int64_t i) const { return hn::LoadU(DF(), rows + j * stride + i); }
  HWY_INLINE void Prefetch(int64_t) const {}
};

// or as the cache has them; T is what Highway calls the type.
template <typename T>
struct Stored {
  const uint8_t* const* rows;
  int64_t bytes;  // of a row
  HWY_INLINE VF Load(int64_t j, int64_t i) const {
    if constexpr (sizeof(T) == 4) {
      return hn::LoadU(DF(), reinterpret_cast<const float*>(rows[j]) + i);
    } else {
      return hn::PromoteTo(DF(),
                           hn::LoadU(hn::Rebind<T, DF>(), reinterpret_cast<const T*>(rows[j]) + i));
    }
  }
  // A head's rows lie too far apart for the processor to foresee them.
  HWY_INLINE void Prefetch(int64_t j) const {
    constexpr int64_t kLineBytes = 64;
    const uint8_t* ahead = rows[j + StoredRows::kAhead];
    for (int64_t at = 0; at < bytes; at += kLineBytes) __builtin_prefetch(ahead + at);
  }
};

// Rows [0, kRows) of scores, for positions [from, to), multiples of 4. Twelve sums, three queries
// and a key fill the sixteen registers of AVX2.
template <int kRows, class Keys>
HWY_INLINE void Scores(const QueryRows& rows, const float* q, const Keys& keys, int64_t from,
                       int64_t to, float* HWY_RESTRICT scores) {
  const DF df;
  const hn::FixedTag<float, 4> d4;
  const int64_t stride = rows.k_stride;
  for (int64_t j = from; j < to; j += 4) {
    VF sum[kRows][4];
    RENGA_UNROLL
    for (int r = 0; r < kRows; ++r) {
      RENGA_UNROLL
      for (int c = 0; c < 4; ++c) sum[r][c] = hn::Zero(df);
    }
    for (int c = 0; c < 4; ++c) keys.Prefetch(j + c);
    for (int64_t i = 0; i < stride; i += kF) {
      VF query[kRows];
      RENGA_UNROLL
      for (int r = 0; r < kRows; ++r) query[r] = hn::LoadU(df, q + r * stride + i);
      RENGA_UNROLL
      for (int c = 0; c < 4; ++c) {
        const VF v = keys.Load(j + c, i);
        RENGA_UNROLL
        for (int r = 0; r < kRows; ++r) sum[r][c] = hn::MulAdd(v, query[r], sum[r][c]);
      }
    }
    RENGA_UNROLL
    for (int r = 0; r < kRows; ++r) {
      hn::StoreU(
          hn::Mul(SumFour(sum[r][0], sum[r][1], sum[r][2], sum[r][3]), hn::Set(d4, rows.scale)), d4,
          scores + r * kBlock + j);
    }
  }
}

// kVectors vectors of kRows rows of acc += sum over j in [from, to) of p[j] v[j].
template <int kRows, int kVectors, class Values>
HWY_INLINE void MixSome(const float* p, const Values& v, int64_t at, int64_t stride, int64_t from,
                        int64_t to, float* acc) {
  const DF df;
  VF sum[kRows][kVectors];
  RENGA_UNROLL
  for (int r = 0; r < kRows; ++r) {
    RENGA_UNROLL
    for (int c = 0; c < kVectors; ++c) sum[r][c] = hn::LoadU(df, acc + r * stride + c * kF);
  }
  for (int64_t j = from; j < to; ++j) {
    if (at == 0) v.Prefetch(j);
    VF weight[kRows];
    RENGA_UNROLL
    for (int r = 0; r < kRows; ++r) weight[r] = hn::Set(df, p[r * kBlock + j]);
    RENGA_UNROLL
    for (int c = 0; c < kVectors; ++c) {
      const VF value = v.Load(j, at + c * kF);
      RENGA_UNROLL
      for (int r = 0; r < kRows; ++r) sum[r][c] = hn::MulAdd(weight[r], value, sum[r][c]);
    }
  }
  RENGA_UNROLL
  for (int r = 0; r < kRows; ++r) {
    RENGA_UNROLL
    for (int c = 0; c < kVectors; ++c) hn::StoreU(sum[r][c], df, acc + r * stride + c * kF);
  }
}

template <int kRows, class Values>
HWY_INLINE void Mix(const float* p, const Values& v, int64_t stride, int64_t from, int64_t to,
                    float* acc) {
  if (from >= to) return;
  constexpr int kVectors = kRows == 1 ? 8 : 4;  // sums enough to hide an addition's latency
  int64_t i = 0;
  for (; i + kVectors * kF <= stride; i += kVectors * kF) {
    MixSome<kRows, kVectors>(p, v, i, stride, from, to, acc + i);
  }
  for (; i < stride; i += kF) MixSome<kRows, 1>(p, v, i, stride, from, to, acc + i);
}

HWY_INLINE void Scale(float factor, int64_t n, float* x) {
  for (int64_t i = 0; i < n; i += kF) {
    hn::StoreU(hn::Mul(hn::LoadU(DF(), x + i), hn::Set(DF(), factor)), DF(), x + i);
  }
}

// One row's softmax goes on over s[0..n), n > 0, which become e^(s - max).
HWY_INLINE void Softmax(float* s, int64_t n, const SoftmaxState& state, int64_t row,
                        int64_t v_stride) {
  const DF df;
  VF largest = hn::Set(df, kLowest);
  for (int64_t i = 0; i < n; i += kF) {
    largest =
        hn::Max(largest, i + kF <= n ? hn::LoadU(df, s + i) : LoadPart(s + i, n - i, kLowest));
  }
  const float before = state.max[row];
  const float in_block = hn::GetLane(hn::MaxOfLanes(df, largest));
  const float max = in_block > before ? in_block : before;
  if (max != before) {
    const float factor = ExpBelow(before - max);
    state.max[row] = max;
    state.sum[row] *= factor;
    Scale(factor, v_stride, state.acc + row * v_stride);
  }
  const VF top = hn::Set(df, max);
  VF sum = hn::Zero(df);
  int64_t i = 0;
  for (; i + kF <= n; i += kF) {
    const VF e = ExpBelow(hn::Sub(hn::LoadU(df, s + i), top));
    sum = hn::Add(sum, e);
    hn::StoreU(e, df, s + i);
  }
  if (i < n) {
    StorePart(ExpBelow(hn::Sub(LoadPart(s + i, n - i), top)), s + i, n - i);
    sum = hn::Add(sum, LoadPart(s + i, n - i));
  }
  state.sum[row] += hn::GetLane(hn::SumOfLanes(df, sum));
}

// Rows [first, first + kRows), each of which sees a key.
template <int kRows, class Keys>
HWY_INLINE void Weigh(const QueryRows& rows, int64_t first, const Keys& keys, const bool* missing,
                      const SoftmaxState& state) {
  const int32_t* begin = rows.begin + first;
  const int32_t* end = rows.end + first;
  float* weights = rows.weights + first * kBlock;
  const int64_t from = *std::min_element(begin, begin + kRows);
  const int64_t to = *std::max_element(end, end + kRows);
  Scores<kRows>(rows, rows.q + first * rows.k_stride, keys, from / 4 * 4, (to + 3) / 4 * 4,
                weights);
  for (int r = 0; r < kRows; ++r) {
    float* s = weights + r * kBlock;
    for (int64_t j = begin[r]; missing != nullptr && j < end[r]; ++j) {
      if (missing[j]) s[j] = 0;  // also for a query that is not finite
    }
    Softmax(s + begin[r], end[r] - begin[r], state, first + r, rows.v_stride);
  }
}

// The same rows, and the values.
template <int kRows, class Values>
HWY_INLINE void MixRows(const QueryRows& rows, int64_t first, const Values& values,
                        const SoftmaxState& state) {
  const int32_t* begin = rows.begin + first;
  const int32_t* end = rows.end + first;
  const float* weights = rows.weights + first * kBlock;
  const int64_t stride = rows.v_stride;
  float* acc = state.acc + first * stride;
  // Keys that all rows see are taken together, those in front and behind a row at a time.
  int64_t from = *std::max_element(begin, begin + kRows);
  int64_t to = *std::min_element(end, end + kRows);
  if (from >= to) from = to = kBlock;  // nothing in common
  for (int r = 0; r < kRows; ++r) {
    Mix<1>(weights + r * kBlock, values, stride, begin[r], std::min<int64_t>(from, end[r]),
           acc + r * stride);
  }
  Mix<kRows>(weights, values, stride, from, to, acc);
  for (int r = 0; r < kRows; ++r) {
    Mix<1>(weights + r * kBlock, values, stride, std::max<int64_t>(to, begin[r]), end[r],
           acc + r * stride);
  }
}

// Calls fn(number of rows, first row) for up to three rows at a time, all of which see a key.
template <typename Fn>
HWY_INLINE void ForRows(const QueryRows& rows, const Fn& fn) {
  for (int64_t r = 0; r < rows.rows;) {
    int64_t count = 0;
    while (count < 3 && r + count < rows.rows && rows.begin[r + count] < rows.end[r + count]) {
      ++count;
    }
    if (count == 3 && rows.rows - r == 4) count = 2;  // two pairs, not three and one
    if (count == 3) {
      fn(std::integral_constant<int, 3>(), r);
    } else if (count == 2) {
      fn(std::integral_constant<int, 2>(), r);
    } else if (count == 1) {
      fn(std::integral_constant<int, 1>(), r);
    }
    r += std::max<int64_t>(count, 1);
  }
}

HWY_INLINE void FoldRow(const SoftmaxState& from, int64_t from_row, int64_t v_stride,
                        const SoftmaxState& into, int64_t row) {
  if (from.sum[from_row] == 0) return;
  const float* more = from.acc + from_row * v_stride;
  float* acc = into.acc + row * v_stride;
  if (into.sum[row] == 0) {
    into.max[row] = from.max[from_row];
    into.sum[row] = from.sum[from_row];
    std::copy_n(more, v_stride, acc);
    return;
  }
  const float a = into.max[row], b = from.max[from_row];
  const float max = b > a ? b : a;
  const float keep = a == max ? 1 : ExpBelow(a - max), add = b == max ? 1 : ExpBelow(b - max);
  into.max[row] = max;
  into.sum[row] = into.sum[row] * keep + from.sum[from_row] * add;
  const DF df;
  for (int64_t i = 0; i < v_stride; i += kF) {
    const VF kept = hn::Mul(hn::LoadU(df, acc + i), hn::Set(df, keep));
    hn::StoreU(hn::MulAdd(hn::LoadU(df, more + i), hn::Set(df, add), kept), df, acc + i);
  }
}

HWY_INLINE void FinishRow(const SoftmaxState& state, int64_t row, int64_t v_stride,
                          const float* sink, int64_t n, float* y) {
  const float* acc = state.acc + row * v_stride;
  float sum = state.sum[row], factor = 1;
  if (sum == 0) {
    std::fill_n(y, n, 0.0f);
    return;
  }
  if (sink != nullptr) {
    const float max = std::max(state.max[row], *sink);
    factor = ExpBelow(state.max[row] - max);
    sum = sum * factor + ExpBelow(*sink - max);
  }
  factor /= sum;
  int64_t i = 0;
  const VF times = hn::Set(DF(), factor);
  for (; i + kF <= n; i += kF) {
    hn::StoreU(hn::Mul(hn::LoadU(DF(), acc + i), times), DF(), y + i);
  }
  if (i < n) StorePart(hn::Mul(hn::LoadU(DF(), acc + i), times), y + i, n - i);
}

}  // namespace

void WeighAll(const QueryRows& rows, const float* block, const bool* missing,
              const SoftmaxState& state) {
  const Converted keys{block, rows.k_stride};
  ForRows(rows, [&](auto count, int64_t first)
                    HWY_ATTR { Weigh<decltype(count)::value>(rows, first, keys, missing, state); });
}

void MixAll(const QueryRows& rows, const float* block, const SoftmaxState& state) {
  const Converted values{block, rows.v_stride};
  ForRows(rows, [&](auto count, int64_t first)
                    HWY_ATTR { MixRows<decltype(count)::value>(rows, first, values, state); });
}

namespace {

template <typename T>
void WeighStored(const QueryRows& rows, const uint8_t* const* at, const bool* missing,
                 const SoftmaxState& state) {
  const Stored<T> keys{at, rows.k_stride * static_cast<int64_t>(sizeof(T))};
  ForRows(rows, [&](auto count, int64_t first)
                    HWY_ATTR { Weigh<decltype(count)::value>(rows, first, keys, missing, state); });
}

template <typename T>
void MixStored(const QueryRows& rows, const uint8_t* const* at, const SoftmaxState& state) {
  const Stored<T> values{at, rows.v_stride * static_cast<int64_t>(sizeof(T))};
  ForRows(rows, [&](auto count, int64_t first)
                    HWY_ATTR { MixRows<decltype(count)::value>(rows, first, values, state); });
}

constexpr StoredRows kStored[] = {
    {DType::kF32, WeighStored<float>, MixStored<float>},
    {DType::kF16, WeighStored<hwy::float16_t>, MixStored<hwy::float16_t>},
    {DType::kBF16, WeighStored<hwy::bfloat16_t>, MixStored<hwy::bfloat16_t>},
};

}  // namespace

const StoredRows* FindStoredRowsImpl(DType type) {
  for (const StoredRows& stored : kStored) {
    if (stored.type == type) return &stored;
  }
  return nullptr;
}

void Fold(const SoftmaxState& from, int64_t from_row, int64_t count, int64_t v_stride,
          const SoftmaxState& into, int64_t row) {
  for (int64_t i = 0; i < count; ++i) FoldRow(from, from_row + i, v_stride, into, row + i);
}

void Finish(const SoftmaxState& state, int64_t row, int64_t count, int64_t v_stride,
            const float* sinks, int64_t n, float* y) {
  for (int64_t i = 0; i < count; ++i) {
    FinishRow(state, row + i, v_stride, sinks == nullptr ? nullptr : sinks + i, n, y + i * n);
  }
}

}  // namespace renga::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace renga::cpu {

HWY_EXPORT(WeighAll);
HWY_EXPORT(MixAll);
HWY_EXPORT(FindStoredRowsImpl);
HWY_EXPORT(Fold);
HWY_EXPORT(Finish);

void WeighKeys(const QueryRows& rows, const float* keys, const bool* missing,
               const SoftmaxState& state) {
  HWY_DYNAMIC_DISPATCH(WeighAll)(rows, keys, missing, state);
}

void MixValues(const QueryRows& rows, const float* values, const SoftmaxState& state) {
  HWY_DYNAMIC_DISPATCH(MixAll)(rows, values, state);
}

const StoredRows* FindStoredRows(DType type) {
  return HWY_DYNAMIC_DISPATCH(FindStoredRowsImpl)(type);
}

void FoldRows(const SoftmaxState& from, int64_t from_row, int64_t count, int64_t v_stride,
              const SoftmaxState& into, int64_t row) {
  HWY_DYNAMIC_DISPATCH(Fold)(from, from_row, count, v_stride, into, row);
}

void FinishRows(const SoftmaxState& state, int64_t row, int64_t count, int64_t v_stride,
                const float* sinks, int64_t n, float* y) {
  HWY_DYNAMIC_DISPATCH(Finish)(state, row, count, v_stride, sinks, n, y);
}

}  // namespace renga::cpu
#endif
