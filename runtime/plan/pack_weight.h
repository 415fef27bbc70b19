// What a plan's packing kernels take: rows of a weight as the file has them, to be put into the
// layout for mma on the GPU.
#pragma once

#include <cstdint>

#include "ir/base/mma_layout.h"

namespace renga::plan {

// PackArgs of codegen/kernels/args.cuh, which says what the fields mean; codegen checks that the
// two are one.
struct PackWeightArgs {
  uint64_t file = 0, packed = 0;  // addresses
  int64_t row_bytes = 0;
  int64_t plane[4] = {};
  int64_t tail = 0;
  int64_t first_tile = 0;
  int32_t rows = 0;
  int32_t tiles = 0;
  int32_t steps = 0;
  int32_t step_blocks = 0;
  int32_t finish = 0;
};

// All that the layout says. The addresses, `first_tile`, `rows`, `tiles` and `finish` are those of
// a launch.
PackWeightArgs PackWeightArgsOf(const MmaLayout& layout);

}  // namespace renga::plan
