// How weights lie in the memory of a GPU: in the order in which the lanes of a warp want them for
// mma.m16n8k16 with 16 rows of weights as its A. One layout serves decoding (a warp streams a tile
// past a few tokens) and prefill. codegen/kernels/weights.cuh reads it; docs/kernels-cuda.md draws
// it.
//
// It is a bijection but for padding: every bit of the file's blocks has one place, and Unpack gives
// them back. Rows are padded to 16 and k to whole steps, with zero bits, which every type reads as
// zeros.
//
// Words: a tile is 16 rows; a step is `step_blocks` blocks of 32 k, which a warp loads at once; an
// item is a step of a tile, item = tile * steps + step. Lane l = 4 g + q (g = l / 4) holds of a
// block the weights k = 8 q to 8 q + 7 of rows g and g + 8.
//
// The memory is planes, one after another, each at a multiple of 256 bytes: one for the quants, one
// for upper bits, one for scales and so on. A plane gives `words` 32-bit words of an item to each
// of its units, which are lanes (32 units), the g (8) or the pairs (g, q / 2) (16). They go in
// chunks of up to four words, so that a unit loads 16 bytes at once and the units' loads lie side
// by side:
//
//   word w of a unit of an item = ((item * chunks + w / 4) * units + unit) * 4 + w % 4
//
// (with chunks of `words` where those are fewer than 4). After the planes, at tail_offset, stand 16
// bytes: the exponent as an int32, then zeros.
//
// The exponent x is the power of two by which the kernel multiplies scales (or the weights of
// plain types) before they become f16: large enough that ordinary weights do not sink into f16's
// subnormals, small enough that none overflows. It is the same for the whole tensor.
#pragma once

#include <array>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "ir/base/dtype.h"

namespace renga {

struct MmaPlane {
  int units;       // that share an item: 8, 16 or 32
  int words;       // of each unit in an item: 1, 2, 4, 8 or 16
  int64_t offset;  // bytes from the start of the packed weight
};

// Where everything of one weight is.
struct MmaLayout {
  DType type;
  int64_t rows, k;  // of the file
  int64_t tiles;    // of 16 rows
  int64_t steps;    // of a tile
  int step_blocks;  // blocks of 32 k in a step: 1, 2, 4 or 8
  int planes;
  std::array<MmaPlane, 4> plane;
  int64_t tail_offset;
  int64_t bytes;  // in all

  int64_t padded_rows() const { return tiles * 16; }
  int64_t padded_k() const { return steps * step_blocks * 32; }
};

// Whether weights of `type` can lie like that: F32 F16 BF16 Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 Q4_K Q5_K Q6_K
// IQ4_NL MXFP4.
bool HasMmaLayout(DType type);

// The layout of a weight of `rows` rows of `k` elements. A step has as many blocks as the type
// allows and k divides into. Unimplemented for other types; InvalidArgument for sizes below 1, rows
// that are no whole number of blocks, and weights of more than 2^40 bytes.
absl::StatusOr<MmaLayout> MmaLayoutOf(DType type, int64_t rows, int64_t k);

// Packs the rows as the file has them, or gives them back. `file` has rows * RowBytes(type, k)
// bytes, `packed` layout.bytes; InvalidArgument otherwise.
absl::Status PackForMma(const MmaLayout& layout, absl::Span<const uint8_t> file,
                        absl::Span<uint8_t> packed);
absl::Status UnpackFromMma(const MmaLayout& layout, absl::Span<const uint8_t> packed,
                           absl::Span<uint8_t> file);

// The exponent that PackForMma writes for these rows. InvalidArgument as there.
absl::StatusOr<int32_t> MmaExponentOf(const MmaLayout& layout, absl::Span<const uint8_t> file);

}  // namespace renga
