// The tensors of a GGUF file: what they are called, how they are shaped, where their bytes lie.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "frontend/gguf/byte_cursor.h"
#include "ir/base/dtype.h"

namespace renga {

inline constexpr int kMaxGgufRank = 4;

// Smallest number of bytes an entry of the table takes: an empty name and one dimension.
inline constexpr uint64_t kMinTensorEntryBytes = 8 + 4 + 8 + 4 + 8;

struct GgufTensor {
  std::string_view name;  // a view into the mapped file
  DType type = DType::kF32;
  int rank = 0;  // 1..4, as the file has it
  std::array<int64_t, kMaxGgufRank>
      dims{};           // [rank] row-major, outermost first: GGUF's ne reversed
  uint32_t part = 0;    // of the split model; 0 for a single file
  uint64_t offset = 0;  // bytes from the start of the part's file; a multiple of its alignment
  uint64_t bytes = 0;   // at least 1; offset + bytes lies within the file
  uint64_t entry_offset = 0;  // byte of the part's file at which the entry in its table begins

  absl::Span<const int64_t> shape() const { return absl::MakeConstSpan(dims.data(), rank); }
  int64_t row() const { return dims[rank - 1]; }  // elements of a row, the fastest dimension
  int64_t elements() const;                       // product of the shape, below 2^63
};

// Reads `count` entries at the cursor, at most as many as the file has room for; the offsets are
// still relative to the data section. Errors: rank not 1..4, a size of 0 or of 2^63 and more,
// element or byte counts that overflow, an unknown or removed type, rows that are no whole number
// of blocks. Names are not compared.
absl::StatusOr<std::vector<GgufTensor>> ReadTensorTable(uint64_t count, uint32_t part,
                                                        ByteCursor& cursor);

// Makes the offsets absolute. Errors: an offset that is no multiple of `alignment`, data past the
// end of the file of `file_bytes` bytes, tensors that share bytes.
absl::Status PlaceTensors(uint64_t data_offset, uint64_t alignment, uint64_t file_bytes,
                          std::vector<GgufTensor>& tensors);

}  // namespace renga
