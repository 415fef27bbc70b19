// Products with weights in the layout rows8 (ir/base/packing.h): a 32-bit lane is a row,
// activations are broadcast pair by pair, and the scales of eight rows are one vector. Nothing is
// summed across lanes, so a result is the same, to the bit, on vectors of any length, for any
// number of tokens and any split of the rows.
#pragma once

#include <cstdint>

#include "absl/types/span.h"
#include "runtime/device/cpu/quant_ops.h"

namespace renga::cpu {

struct Rows8Ops {
  DType type;

  // y[t * y_stride + r] = row r times token t, for r < rows and t < tokens. `weight` starts at a
  // group of eight rows. `scratch` holds Rows8Scratch() floats.
  void (*multiply)(const uint8_t* weight, int64_t rows, int64_t k, const QuantTokens& x,
                   int64_t tokens, float* scratch, float* y, int64_t y_stride);
};

inline constexpr int64_t kRows8 = 8;

// Types with blocks of 32 and of 256. Chosen for the machine's instruction set.
absl::Span<const Rows8Ops> Rows8Block32Ops();
absl::Span<const Rows8Ops> Rows8SuperBlockOps();

// nullptr: no kernel for this type in this layout.
const Rows8Ops* FindRows8Ops(DType type);

int64_t Rows8Scratch();

}  // namespace renga::cpu
