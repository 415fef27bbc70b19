// The arithmetic of attention on converted rows. A row is one head of one token. What is computed
// for a row does not depend on the rows beside it, so neither does the result on batch or threads.
#pragma once

#include <cstdint>

#include "ir/base/dtype.h"

namespace renga::cpu {

// A softmax that is not finished: over the keys seen so far, the largest score, the sum of
// e^(score - max), and in `acc` (v_stride floats a row) the values weighted alike. No keys: -inf, 0
// and zeros.
struct SoftmaxState {
  float* max;  // [rows]
  float* sum;  // [rows]
  float* acc;  // [rows, v_stride]
};

// What the rows of queries see of a block of kPositions key positions. The block's keys (or values)
// are floats, [kPositions, stride]; those that a row sees exist, up to the next multiple of 4 in
// front of and behind them they may hold any numbers.
struct QueryRows {
  static constexpr int64_t kPositions = 64;

  int64_t rows;
  int64_t k_stride;  // floats, FloatStride(D)
  int64_t v_stride;
  const float* q;        // [rows, k_stride]
  const int32_t* begin;  // [rows] positions of the block that the row sees: [begin, end)
  const int32_t* end;
  float* weights;  // [rows, kPositions], from WeighKeys to MixValues
  float scale;
};

// Goes on with every row's softmax over the block, but for the values: `weights` become
// e^(score - max), `acc` what it is for the new max. `missing` [kPositions], null where all are
// there: positions without a cell, whose score is 0.
void WeighKeys(const QueryRows& rows, const float* keys, const bool* missing,
               const SoftmaxState& state);

// Adds the block's weighted values, in order.
void MixValues(const QueryRows& rows, const float* values, const SoftmaxState& state);

// WeighKeys and MixValues, to the bit, of keys and values that stay as a cache stores them: entry j
// of a table points to position j's row, of D numbers without padding (D = stride). Entries that no
// row of queries sees point anywhere that may be read.
struct StoredRows {
  static constexpr int64_t kAhead = 8;  // entries that are prefetched
  static constexpr int64_t kEntries = QueryRows::kPositions + kAhead;  // of a table

  DType type;
  void (*weigh)(const QueryRows& rows, const uint8_t* const* keys, const bool* missing,
                const SoftmaxState& state);
  void (*mix)(const QueryRows& rows, const uint8_t* const* values, const SoftmaxState& state);
};

// For f32, f16 and bf16; nullptr for other types. Chosen for the machine's instruction set.
const StoredRows* FindStoredRows(DType type);

// Row `row + i` of `into` goes on with the keys of row `from_row + i` of `from`, which come later,
// for i < count. A state without keys changes nothing.
void FoldRows(const SoftmaxState& from, int64_t from_row, int64_t count, int64_t v_stride,
              const SoftmaxState& into, int64_t row);

// y[i * n + 0..n) = acc / (sum + e^(sinks[i] - max)) of row `row + i`, for i < count; null sinks
// are absent. Zeros where there was no key.
void FinishRows(const SoftmaxState& state, int64_t row, int64_t count, int64_t v_stride,
                const float* sinks, int64_t n, float* y);

}  // namespace renga::cpu
