// The blocks of a file taken apart into numbers, for mma_layout.cc: every bit of a block in one
// field, so that blocks can be put together again.
#pragma once

#include <cstdint>

#include "ir/base/dtype.h"

namespace renga {

// 32 elements, or the 256 of a super-block. Plain types have up to 32 elements and no scales.
struct BlockNumbers {
  uint32_t codes[256];   // quants as stored, or the bits of plain elements
  uint32_t scales[16];   // of K types; a byte each
  uint32_t minimums[8];  // of Q4_K and Q5_K
  uint32_t d, m;         // bits of the halves; of MXFP4 d is the exponent byte
};

// Copies between the numbers and a block, or `elements` plain elements. Both add bits to what is
// there: the target must be zero.
struct BlockCodec {
  DType type;
  int elements;  // of a block: 32 or 256
  void (*read)(const uint8_t* block, int elements, BlockNumbers* numbers);
  void (*write)(const BlockNumbers& numbers, int elements, uint8_t* block);
  // What bounds the tensor's exponent x: |bound| * 2^x must stay below 2^bound_exponent. Null where
  // x is 0.
  double (*bound)(const BlockNumbers& numbers, int elements);
  int bound_exponent;
};

// nullptr for types without a layout for mma.
const BlockCodec* FindBlockCodec(DType type);

}  // namespace renga
