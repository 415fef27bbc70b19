// Layouts: other orders in which a weight's bytes can lie than the model file's.
//
// A GGUF row is a sequence of blocks, each with its scales and quants side by side. That suits
// storage, not SIMD units or GPUs, which want the same few bytes of several rows next to each
// other. A layout regroups the bytes of a matrix of rows; it computes nothing, so it is a
// bijection: Unpack gives back every byte.
//
// How the bytes lie. A layout has three numbers: `rows`, `blocks` and `chunk`.
//   - A group is `rows` consecutive rows; where the number of rows is no multiple, the last group
//   is
//     filled up with rows of zero bytes. Groups lie one after another, so that group g starts where
//     row g * rows of the file's layout would: at g * rows * (bytes of a row).
//   - A tile is the next `blocks` blocks of every row of a group (the last tile of a group has what
//     is left); kAllBlocks makes the whole group one tile. Tiles lie one after another.
//   - A plane is one field of the type's blocks (block_fields.h: "d", "scales", "qs"), for all rows
//     and blocks of a tile. Planes lie one after another in the order of the fields: scales apart
//     from quants.
//   - Inside a plane the bytes go by block, then by place in the field in steps of `chunk` bytes
//   (of
//     the whole field where it is shorter), then by row: `chunk` bytes of each of the group's rows
//     in turn.
// So byte j of the field at `offset` of block b (counted in its tile of B blocks) of row r lies,
// from the tile's start, at
//
//   rows * B * offset + ((b * (field_bytes / c) + j / c) * rows + r) * c + j % c      c = chunk
//
// rows8 = {8, 1, 4} makes 32 bytes of eight rows' quants one AVX2 vector with a row a lane, and the
// eight scales of a block one load. Threads of a GPU want {32, kAllBlocks, 16}: a warp's 32 loads
// of 16 bytes are then contiguous, and so are its scales.
//
// A field of one bit an element (Q5_0's qh) would leave the bits of a chunk's four elements in one
// byte. `spread_bits` of a layout moves bit 4 * j + i of the field to bit 8 * i + j, next to where
// byte i of chunk j has the element's other bits.
//
// `mma` is what GPUs read. It does not follow that scheme; ir/base/mma_layout.h describes it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "ir/base/dtype.h"

namespace renga {

struct Layout {
  std::string_view name;     // as in the IR: pack(@w) {layout=rows8}
  std::string_view summary;  // for people
  int rows;                  // of a group
  int blocks;                // of a tile, of each row
  int chunk;                 // bytes of a row that stay together
  bool spread_bits;
  absl::Span<const DType> types;  // that it is defined for
  // The layout of ir/base/mma_layout.h instead, of which the three numbers say nothing: a matrix is
  // one group, and there are no parts of it to pack one by one.
  bool mma = false;

  static constexpr int kAllBlocks = 0;
};

// All layouts, sorted by name.
absl::Span<const Layout> AllLayouts();

// nullptr when there is none of that name.
const Layout* FindLayout(std::string_view name);

// "rows8, ...": for messages.
std::string LayoutNames();

bool Accepts(const Layout& layout, DType type);

// Bytes of a packed matrix of `rows` rows of `k` elements. InvalidArgument when the layout does not
// accept the type, a size is negative, a row is no whole number of blocks, or the result exceeds an
// int64_t.
absl::StatusOr<int64_t> PackedBytes(const Layout& layout, DType type, int64_t rows, int64_t k);

// Regroups `rows` rows of `k` elements from `file` into `packed`, or back. Both spans have exactly
// their bytes (RowBytes times rows, PackedBytes) and do not overlap. Errors as PackedBytes, and for
// spans of other sizes. Parts of whole groups may be packed one by one. Unpack ignores the rows
// that filled up the last group.
absl::Status Pack(const Layout& layout, DType type, int64_t rows, int64_t k,
                  absl::Span<const uint8_t> file, absl::Span<uint8_t> packed);
absl::Status Unpack(const Layout& layout, DType type, int64_t rows, int64_t k,
                    absl::Span<const uint8_t> packed, absl::Span<uint8_t> file);

}  // namespace renga
