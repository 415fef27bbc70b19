#include "runtime/memory/load_weight.h"

#include <algorithm>

#include "ir/base/packing.h"
#include "ir/base/status.h"
#include "runtime/plan/layout.h"

namespace renga {
namespace {

// Bytes between two looks at the progress: large enough that nothing but the bytes counts, small
// enough to be still in a cache when they are packed after their digest was taken.
constexpr int64_t kPiece = int64_t{1} << 20;

}  // namespace

absl::StatusOr<Digest> LoadWeight(const plan::Weight& weight, const WeightLoad& load,
                                  absl::FunctionRef<void(int64_t)> advance) {
  DigestStream digest;
  const uint64_t stored = load.packed ? plan::StoredBytes(weight) : weight.source.bytes;
  const auto bytes = load.file->bytes().subspan(load.offset, stored);
  if (load.to == nullptr) {
    for (uint64_t at = 0; at < stored; at += kPiece) {
      const auto piece = bytes.subspan(at, kPiece);
      digest.Add(piece);
      advance(static_cast<int64_t>(piece.size()));
    }
    return digest.Finish();
  }
  if (weight.layout.empty()) {
    std::copy(bytes.begin(), bytes.end(), load.to);
    digest.Add(bytes);
    load.file->Release(load.offset, stored);
    advance(static_cast<int64_t>(stored));
    return digest.Finish();
  }
  const Layout& layout = *FindLayout(weight.layout);
  const std::vector<int64_t>& shape = weight.source.shape;
  const DType type = weight.source.dtype;
  const int64_t k = shape.back(), rows = shape[shape.size() - 2], row = RowBytes(type, k);
  // Whole groups, each of which lies by itself in both layouts.
  const int64_t group_rows = layout.mma ? rows : layout.rows;
  const int64_t step =
      std::max<int64_t>(kPiece / std::max<int64_t>(row * group_rows, 1), 1) * group_rows;
  uint64_t from = 0;
  uint8_t* to = load.to;
  while (from < stored) {  // a matrix at a time
    for (int64_t r = 0; r < rows; r += step) {
      const int64_t some = std::min(step, rows - r);
      RENGA_ASSIGN_OR_RETURN(const int64_t packed, PackedBytes(layout, type, some, k));
      const size_t read = static_cast<size_t>(load.packed ? packed : some * row);
      const size_t written = static_cast<size_t>(load.packed ? some * row : packed);
      const auto piece = bytes.subspan(from, read);
      digest.Add(piece);
      const auto room = absl::MakeSpan(to, written);
      RENGA_RETURN_IF_ERROR(load.packed ? Unpack(layout, type, some, k, piece, room)
                                        : Pack(layout, type, some, k, piece, room));
      load.file->Release(load.offset + from, read);
      from += read;
      to += written;
      advance(static_cast<int64_t>(read));
    }
  }
  return digest.Finish();
}

}  // namespace renga
