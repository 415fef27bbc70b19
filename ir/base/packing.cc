#include "ir/base/packing.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>
#include <vector>

#include "ir/base/block_fields.h"
#include "ir/base/mma_layout.h"
#include "ir/base/status.h"
#include "ir/base/strings.h"

namespace renga {
namespace {

constexpr DType kRows8Types[] = {DType::kQ4_0,   DType::kQ4_1, DType::kQ5_0, DType::kQ5_1,
                                 DType::kQ8_0,   DType::kQ4_K, DType::kQ5_K, DType::kQ6_K,
                                 DType::kIQ4_NL, DType::kMXFP4};

constexpr DType kMmaTypes[] = {DType::kF32,  DType::kF16,  DType::kBF16, DType::kQ8_0,
                               DType::kQ4_0, DType::kQ4_1, DType::kQ5_0, DType::kQ5_1,
                               DType::kQ4_K, DType::kQ5_K, DType::kQ6_K, DType::kIQ4_NL,
                               DType::kMXFP4};

constexpr Layout kLayouts[] = {
    {"mma", "tiles of 16 rows in the order in which a warp of a GPU multiplies them", 16,
     Layout::kAllBlocks, 16, false, kMmaTypes, true},
    {"rows8", "eight rows side by side, a row in each 32-bit lane", 8, 1, 4, true, kRows8Types},
};

// One plane of a tile of a single block; more blocks move its start and add places.
struct Plane {
  int64_t offset;  // of the field in a block
  int64_t chunk;
  int64_t chunks;  // of a block
  bool spread;
};

absl::StatusOr<std::vector<Plane>> PlanesOf(const Layout& layout, DType type) {
  std::vector<Plane> planes;
  int64_t offset = 0;
  for (const BlockField& field : BlockFields(type)) {
    const int64_t chunk = std::min(layout.chunk, field.bytes);
    if (field.bytes % chunk != 0) {
      return absl::InvalidArgumentError(StrCat("layout ", layout.name, ": type ", Name(type),
                                               ": expected fields of whole chunks of ", chunk,
                                               " bytes, got ", field.name, " of ", field.bytes));
    }
    const bool spread = layout.spread_bits && field.bit_each;
    if (spread && field.bytes != 4) {
      return absl::InvalidArgumentError(StrCat("layout ", layout.name, ": type ", Name(type),
                                               ": expected bits of 32 elements, got ", field.name,
                                               " of ", field.bytes, " bytes"));
    }
    planes.push_back({offset, chunk, field.bytes / chunk, spread});
    offset += field.bytes;
  }
  if (offset != Info(type).block_bytes) {
    return absl::InternalError(StrCat("type ", Name(type), ": expected fields of ",
                                      Info(type).block_bytes, " bytes, got ", offset));
  }
  return planes;
}

// Bit 4 * j + i to bit 8 * i + j, or back: a matrix of 8 x 4 bits and its transpose.
uint32_t Spread(uint32_t bits) {
  uint32_t out = 0;
  for (int j = 0; j < 8; ++j) {
    // Four bits to the four bytes' lowest: no two of the products' ones meet.
    out |= (((bits >> (4 * j) & 0xF) * 0x00204081) & 0x01010101) << j;
  }
  return out;
}
uint32_t Gather(uint32_t bits) {
  uint32_t out = 0;
  for (int j = 0; j < 8; ++j) {
    for (int i = 0; i < 4; ++i) out |= (bits >> (8 * i + j) & 1) << (4 * j + i);
  }
  return out;
}

// Moves `chunks` chunks of one row's field, `stride` bytes apart in the packed form. kChunk is a
// constant where a chunk is to be one move; 0 takes the plane's.
template <bool kBack, int kChunk, typename File, typename Packed>
void MoveChunks(File* file, Packed* packed, int64_t chunk, int64_t chunks, int64_t stride) {
  const size_t bytes = kChunk > 0 ? kChunk : static_cast<size_t>(chunk);
  for (int64_t c = 0; c < chunks; ++c) {
    if constexpr (kBack) {
      std::memcpy(file, packed, bytes);
    } else {
      std::memcpy(packed, file, bytes);
    }
    file += bytes;
    packed += stride;
  }
}

template <bool kBack, typename File, typename Packed>
void MoveField(File* file, Packed* packed, const Plane& plane, int64_t stride) {
  if (plane.spread) {
    uint32_t bits;
    std::memcpy(&bits, kBack ? packed : file, sizeof(bits));
    if constexpr (kBack) {
      bits = Gather(bits);
      std::memcpy(file, &bits, sizeof(bits));
    } else {
      bits = Spread(bits);
      std::memcpy(packed, &bits, sizeof(bits));
    }
  } else if (plane.chunk == 4) {
    MoveChunks<kBack, 4>(file, packed, plane.chunk, plane.chunks, stride);
  } else if (plane.chunk == 2) {
    MoveChunks<kBack, 2>(file, packed, plane.chunk, plane.chunks, stride);
  } else {
    MoveChunks<kBack, 0>(file, packed, plane.chunk, plane.chunks, stride);
  }
}

// Regroups row `r` of a group; `tile` is the group's start.
template <bool kBack, typename File, typename Packed>
void MoveRow(const Layout& layout, absl::Span<const Plane> planes, int64_t block_bytes,
             int64_t blocks, File* row, int64_t r, Packed* tile) {
  const int64_t in_tile = layout.blocks == Layout::kAllBlocks ? blocks : layout.blocks;
  for (int64_t first = 0; first < blocks; first += in_tile) {
    const int64_t count = std::min(in_tile, blocks - first);
    for (const Plane& plane : planes) {
      const int64_t stride = layout.rows * plane.chunk;
      Packed* packed = tile + layout.rows * count * plane.offset + r * plane.chunk;
      for (int64_t b = 0; b < count; ++b) {
        MoveField<kBack>(row + (first + b) * block_bytes + plane.offset, packed, plane, stride);
        packed += plane.chunks * stride;
      }
    }
    tile += layout.rows * count * block_bytes;
  }
}

absl::Status CheckSizes(const Layout& layout, DType type, int64_t rows, int64_t k, size_t file,
                        size_t packed) {
  RENGA_ASSIGN_OR_RETURN(const int64_t expected, PackedBytes(layout, type, rows, k));
  const int64_t plain = RowBytes(type, k) * rows;
  if (file != static_cast<size_t>(plain) || packed != static_cast<size_t>(expected)) {
    return absl::InvalidArgumentError(StrCat("layout ", layout.name, ": expected ", plain,
                                             " bytes of rows and ", expected, " packed, got ", file,
                                             " and ", packed));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Span<const Layout> AllLayouts() { return kLayouts; }

const Layout* FindLayout(std::string_view name) {
  for (const Layout& layout : kLayouts) {
    if (layout.name == name) return &layout;
  }
  return nullptr;
}

std::string LayoutNames() {
  std::vector<std::string_view> names;
  for (const Layout& layout : kLayouts) names.push_back(layout.name);
  return StrJoin(names, ", ");
}

bool Accepts(const Layout& layout, DType type) {
  return std::find(layout.types.begin(), layout.types.end(), type) != layout.types.end();
}

absl::StatusOr<int64_t> PackedBytes(const Layout& layout, DType type, int64_t rows, int64_t k) {
  if (!Accepts(layout, type)) {
    std::vector<std::string_view> names;
    for (const DType known : layout.types) names.push_back(Name(known));
    return absl::InvalidArgumentError(StrCat("layout ", layout.name, ": expected a type of ",
                                             StrJoin(names, ", "), ", got ", Name(type)));
  }
  if (layout.mma) {
    RENGA_ASSIGN_OR_RETURN(const MmaLayout mma, MmaLayoutOf(type, rows, k));
    return mma.bytes;
  }
  const std::optional<int64_t> row = RowBytesChecked(type, k);
  if (!row.has_value()) {
    return absl::InvalidArgumentError(StrCat("layout ", layout.name, ": expected rows of whole ",
                                             "blocks of ", Info(type).block_elements,
                                             " elements, got ", k));
  }
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  if (rows < 0 || rows > kMax - layout.rows) {
    return absl::InvalidArgumentError(
        StrCat("layout ", layout.name, ": expected a number of rows, got ", rows));
  }
  const int64_t padded = (rows + layout.rows - 1) / layout.rows * layout.rows;
  if (*row != 0 && padded > kMax / *row) {
    return absl::InvalidArgumentError(StrCat("layout ", layout.name,
                                             ": expected fewer than 2^63 bytes, got ", padded,
                                             " rows of ", *row));
  }
  return padded * *row;
}

absl::Status Pack(const Layout& layout, DType type, int64_t rows, int64_t k,
                  absl::Span<const uint8_t> file, absl::Span<uint8_t> packed) {
  RENGA_RETURN_IF_ERROR(CheckSizes(layout, type, rows, k, file.size(), packed.size()));
  if (layout.mma) {
    RENGA_ASSIGN_OR_RETURN(const MmaLayout mma, MmaLayoutOf(type, rows, k));
    return PackForMma(mma, file, packed);
  }
  RENGA_ASSIGN_OR_RETURN(const std::vector<Plane> planes, PlanesOf(layout, type));
  const int64_t block_bytes = Info(type).block_bytes, row_bytes = RowBytes(type, k);
  const int64_t blocks = row_bytes / block_bytes;
  const std::vector<uint8_t> zeros(rows % layout.rows == 0 ? 0 : static_cast<size_t>(row_bytes));
  const int64_t padded = (rows + layout.rows - 1) / layout.rows * layout.rows;
  for (int64_t r = 0; r < padded; ++r) {
    const uint8_t* row = r < rows ? file.data() + r * row_bytes : zeros.data();
    MoveRow<false>(layout, planes, block_bytes, blocks, row, r % layout.rows,
                   packed.data() + r / layout.rows * layout.rows * row_bytes);
  }
  return absl::OkStatus();
}

absl::Status Unpack(const Layout& layout, DType type, int64_t rows, int64_t k,
                    absl::Span<const uint8_t> packed, absl::Span<uint8_t> file) {
  RENGA_RETURN_IF_ERROR(CheckSizes(layout, type, rows, k, file.size(), packed.size()));
  if (layout.mma) {
    RENGA_ASSIGN_OR_RETURN(const MmaLayout mma, MmaLayoutOf(type, rows, k));
    return UnpackFromMma(mma, packed, file);
  }
  RENGA_ASSIGN_OR_RETURN(const std::vector<Plane> planes, PlanesOf(layout, type));
  const int64_t block_bytes = Info(type).block_bytes, row_bytes = RowBytes(type, k);
  for (int64_t r = 0; r < rows; ++r) {
    MoveRow<true>(layout, planes, block_bytes, row_bytes / block_bytes, file.data() + r * row_bytes,
                  r % layout.rows, packed.data() + r / layout.rows * layout.rows * row_bytes);
  }
  return absl::OkStatus();
}

}  // namespace renga
