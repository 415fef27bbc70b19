// The arithmetic of attention on converted rows. A row is one head of one token. What is computed
// for a row does not depend on the rows beside it, so neither does the result on batch or threads.
#pragma once

#include <cstdint>

namespace renga::cpu {

// A softmax that is not finished: over the keys seen so far, the largest score, the sum of
// e^(score - max), and in `acc` (v_stride floats a row) the values weighted alike. No keys: -inf, 0
// and zeros.
struct SoftmaxState {
  float* max;  // [rows]
  float* sum;  // [rows]
  float* acc;  // [rows, v_stride]
};

// Up to 64 key positions, converted to floats. Rows of keys that a row of queries sees exist; up to
// the next multiple of 4 in front of and behind them they may hold any numbers.
struct KeyBlock {
  static constexpr int64_t kPositions = 64;

  const float* k;       // [kPositions, k_stride]
  const float* v;       // [kPositions, v_stride]
  const bool* missing;  // [kPositions] no cell: the score is 0
  bool any_missing;
};

struct QueryRows {
  int64_t rows;
  int64_t k_stride;  // floats, FloatStride(D)
  int64_t v_stride;
  const float* q;        // [rows, k_stride]
  const int32_t* begin;  // [rows] positions of the block that the row sees: [begin, end)
  const int32_t* end;
  float scale;
};

// Goes on with every row's softmax over the block, keys in order.
void AttendBlock(const QueryRows& rows, const KeyBlock& block, const SoftmaxState& state);

// Row `row + i` of `into` goes on with the keys of row `from_row + i` of `from`, which come later,
// for i < count. A state without keys changes nothing.
void FoldRows(const SoftmaxState& from, int64_t from_row, int64_t count, int64_t v_stride,
              const SoftmaxState& into, int64_t row);

// y[i * n + 0..n) = acc / (sum + e^(sinks[i] - max)) of row `row + i`, for i < count; null sinks
// are absent. Zeros where there was no key.
void FinishRows(const SoftmaxState& state, int64_t row, int64_t count, int64_t v_stride,
                const float* sinks, int64_t n, float* y);

}  // namespace renga::cpu
