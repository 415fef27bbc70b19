// How `linear` multiplies quantised weights.
//
// Activations are quantised to 15 bits and a sign with one scale for 32 of them: next to the
// weights' 2..8 bits that is almost exact (an error of at most 1/65534 of the largest of the 32),
// and integer products of 16-bit numbers are what SIMD units do best. A row of the weight is a
// sequence of small integers with a scale for each 16 or 32, and for some types a minimum added to
// all of them, so
//
//   y = sum over blocks b:  scale_w[b] * scale_x[b] * (integer dot product of b)   (f32, in order
//   of b)
//     + sum over blocks b:  min_w[b] * (sum of x over b)
//
// The integer part is exact. Two ways compute it, for one token straight from the stored blocks and
// for many from rows unpacked into a tile, with the same operations in the same order: a result
// does not depend on how many tokens or threads there are, to the bit.
//
// Order of elements ("unit order"): vectors hold N 16-bit words (16, or 8 on 128-bit machines).
// Each 2N consecutive elements are a unit: first its even elements, then its odd ones. Masks and
// shifts split packed bytes into words that way without crossing lanes. The sums of a 32-bit lane
// group of four belong to 16 consecutive elements.
#pragma once

#include <cstdint>

#include "absl/types/span.h"
#include "ir/base/dtype.h"

namespace renga::cpu {

// Activations of some tokens. Token t's numbers start at q + t * q_stride and so on. The form is
// the same whatever the weight's type and layout, so that weights which read the same x share it.
struct QuantTokens {
  const int16_t* q = nullptr;        // k numbers, unit order
  const float* scale = nullptr;      // k / 32
  const int32_t* total16 = nullptr;  // k / 16 sums of 16 numbers
  const int32_t* total32 = nullptr;  // k / 32 sums of 32 numbers
  const float* sum16 = nullptr;      // the same scaled: what a minimum of 16 elements multiplies,
  const float* sum32 = nullptr;      // and of 32; zeros behind them up to the stride
  int64_t q_stride = 0;
  int64_t stride16 = 0;  // of total16 and sum16
  int64_t stride32 = 0;  // of scale, total32 and sum32

  QuantTokens At(int64_t t) const {
    return {q + t * q_stride,
            scale + t * stride32,
            total16 + t * stride16,
            total32 + t * stride32,
            sum16 + t * stride16,
            sum32 + t * stride32,
            q_stride,
            stride16,
            stride32};
  }
  // From element `k` on, a multiple of 32.
  QuantTokens Skip(int64_t k) const {
    return {q + k,          scale + k / 32, total16 + k / 16, total32 + k / 32, sum16 + k / 16,
            sum32 + k / 32, q_stride,       stride16,         stride32};
  }
};

// Unpacked rows; the strides are the same for every tile of a given k.
struct QuantTile {
  int16_t* q = nullptr;    // k numbers, unit order
  float* scale = nullptr;  // k / 16 or k / 32, then room for a whole vector
  float* min = nullptr;    // k / 16 or k / 32, then zeros up to the stride
  int64_t q_stride = 0;
  int64_t scale_stride = 0;

  QuantTile Row(int64_t r) const {
    return {q + r * q_stride, scale + r * scale_stride, min + r * scale_stride, q_stride,
            scale_stride};
  }
};

// Numbers of a scale or minimum array for k elements: padded so that whole vectors may be read.
inline int64_t ScaleStride(int64_t k) { return (k / 16 + 8 + 15) / 16 * 16; }

// One stored type.
struct QuantOps {
  DType type;
  bool per16;  // a scale (and minimum) for 16 elements, else for 32
  bool mins;

  // Unpacks one stored row of k elements (any alignment) into out's first row.
  void (*unpack)(const uint8_t* row, int64_t k, QuantTile out);

  // y[r] = row r times the token, for `rows` stored rows `row_bytes` apart; `min_scratch` holds
  // 2 * ScaleStride(k) floats. Null for types without it: unpack and multiply.
  void (*dot)(const uint8_t* row, int64_t row_bytes, int64_t rows, int64_t k, const QuantTokens& x,
              float* min_scratch, float* y);
};

// Types with blocks of 32, of 256, and the rest. Chosen for the machine's instruction set.
absl::Span<const QuantOps> Block32Ops();
absl::Span<const QuantOps> SuperBlockOps();
absl::Span<const QuantOps> RareOps();

// nullptr: the type is plain or not supported.
const QuantOps* FindQuantOps(DType type);

// 16-bit words of a vector (N above).
int UnitWords();

// y[t * y_stride + r] = tile row r times token t, for t < tokens, r < rows.
void MultiplyTile(const QuantOps& ops, const QuantTile& tile, int64_t rows, const QuantTokens& x,
                  int64_t tokens, int64_t k, float* accumulators, float* y, int64_t y_stride);

// Floats of `accumulators` above for `rows` rows.
int64_t TileAccumulators(int64_t rows);

// Quantises `tokens` rows of k floats. A row that holds an infinity or NaN gets NaN as the scale of
// its block, so that the result shows it; numbers below 1e-33 count as zero.
void QuantizeTokens(const float* x, int64_t tokens, int64_t k, const QuantTokens& out);

}  // namespace renga::cpu
