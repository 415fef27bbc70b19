// Sizes of run-time tensors.
#pragma once

#include <cstdint>

#include "runtime/device/cpu/kernel.h"

namespace renga::cpu {

// Size of the last axis, and the product of the others.
inline int64_t Width(const TensorRef& x) { return x.dims[x.rank - 1]; }
inline int64_t Rows(const TensorRef& x) {
  int64_t rows = 1;
  for (int i = 0; i + 1 < x.rank; ++i) rows *= x.dims[i];
  return rows;
}

// Rows for one part of a parallel loop over rows of `width` numbers: a few microseconds of simple
// work.
inline int64_t RowGrain(int64_t width) { return width >= 8192 ? 1 : 8192 / width; }

}  // namespace renga::cpu
