// How `linear` multiplies f32, f16 and bf16 weights: f32 fused multiply-adds. Lane i of an
// accumulator takes the elements i, i + lanes, ... in order and the lanes are summed at the end,
// for one token as for many, so that a result does not depend on how many tokens or threads there
// are.
#pragma once

#include <cstdint>

#include "ir/base/dtype.h"

namespace renga::cpu {

struct FloatOps {
  DType type;
  // k stored numbers (any alignment) -> out, then zeros up to FloatStride(k).
  void (*unpack)(const uint8_t* row, int64_t k, float* out);
  // y[r] = row r times x, for rows `row_bytes` apart; x has FloatStride(k) numbers.
  void (*dot)(const uint8_t* row, int64_t row_bytes, int64_t rows, int64_t k, const float* x,
              float* y);
};

// nullptr for other types. Chosen for the machine's instruction set.
const FloatOps* FindFloatOps(DType type);

// k rounded up to whole vectors of every machine.
inline int64_t FloatStride(int64_t k) { return (k + 15) / 16 * 16; }

// y[t * y_stride + r] = tile row r times token t; tile and x rows are FloatStride(k) apart.
void MultiplyFloatTile(const float* tile, int64_t rows, const float* x, int64_t tokens, int64_t k,
                       float* accumulators, float* y, int64_t y_stride);

// Floats of `accumulators` above for `rows` rows.
inline int64_t FloatTileAccumulators(int64_t rows) { return rows * 4 * 16; }

}  // namespace renga::cpu
