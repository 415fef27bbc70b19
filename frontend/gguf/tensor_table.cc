#include "frontend/gguf/tensor_table.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <string>

#include "frontend/gguf/format_error.h"
#include "ir/base/status.h"

namespace renga {
namespace {

// Ids that files once used: Q4_2 and Q4_3, then the interleaved variants of Q4_0 and IQ4_NL.
bool WasRemoved(uint32_t id) {
  return id == 4 || id == 5 || (id >= 31 && id <= 33) || (id >= 36 && id <= 38);
}

std::string KnownTypes() {
  std::string text;
  for (const DTypeInfo& info : AllDTypes()) {
    StrAppend(&text, text.empty() ? "" : " ", static_cast<int>(info.type), "=", info.name);
  }
  return text;
}

absl::Status ReadShape(ByteCursor& cursor, GgufTensor& tensor) {
  const uint64_t rank_offset = cursor.position();
  RENGA_ASSIGN_OR_RETURN(const uint32_t rank, cursor.U32("number of dimensions"));
  if (rank < 1 || rank > kMaxGgufRank) {
    return CorruptError(rank_offset, "number of dimensions: expected 1 to ", kMaxGgufRank, ", got ",
                        rank);
  }
  tensor.rank = static_cast<int>(rank);
  int64_t elements = 1;
  for (uint32_t i = 0; i < rank; ++i) {
    const uint64_t offset = cursor.position();
    RENGA_ASSIGN_OR_RETURN(const uint64_t size, cursor.U64("size of a dimension"));
    if (size < 1 || size > uint64_t{INT64_MAX}) {
      return CorruptError(offset, "size of dimension ", i, ": expected 1 to 2^63-1, got ", size);
    }
    const int64_t dim = static_cast<int64_t>(size);
    if (__builtin_mul_overflow(elements, dim, &elements)) {
      return CorruptError(offset, "size of dimension ", i,
                          ": expected fewer than 2^63 elements in all, got a product with ", size,
                          " that is larger");
    }
    tensor.dims[rank - 1 - i] = dim;
  }
  return absl::OkStatus();
}

absl::Status ReadType(ByteCursor& cursor, GgufTensor& tensor) {
  const uint64_t offset = cursor.position();
  RENGA_ASSIGN_OR_RETURN(const uint32_t id, cursor.U32("tensor type"));
  if (WasRemoved(id)) {
    return UnsupportedError(offset, "tensor type: expected a type of the format, got ", id,
                            ", which was removed from the format; convert the model again from ",
                            "its original weights");
  }
  const std::optional<DType> type = DTypeFromGgml(id);
  if (!type.has_value()) {
    return UnsupportedError(offset, "tensor type: expected one of ", KnownTypes(), ", got ", id);
  }
  tensor.type = *type;
  const std::optional<int64_t> row_bytes = RowBytesChecked(*type, tensor.row());
  const int block = Info(*type).block_elements;
  if (tensor.row() % block != 0) {
    return CorruptError(offset, "tensor type ", Name(*type), ": expected rows of a multiple of ",
                        block, " elements, got ", tensor.row());
  }
  uint64_t bytes = 0;
  if (!row_bytes.has_value() ||
      __builtin_mul_overflow(static_cast<uint64_t>(*row_bytes),
                             static_cast<uint64_t>(tensor.elements() / tensor.row()), &bytes)) {
    return CorruptError(offset, "tensor type ", Name(*type), ": expected fewer than 2^64 bytes, ",
                        "got ", tensor.elements(), " elements, which take more");
  }
  tensor.bytes = bytes;
  return absl::OkStatus();
}

absl::Status ReadEntry(ByteCursor& cursor, GgufTensor& tensor) {
  RENGA_RETURN_IF_ERROR(ReadShape(cursor, tensor));
  RENGA_RETURN_IF_ERROR(ReadType(cursor, tensor));
  RENGA_ASSIGN_OR_RETURN(tensor.offset, cursor.U64("data offset"));
  return absl::OkStatus();
}

std::string RangeText(const GgufTensor& tensor) {
  return StrCat(tensor.offset, "..", tensor.offset + tensor.bytes);
}

absl::Status CheckOverlaps(const std::vector<GgufTensor>& tensors) {
  std::vector<uint32_t> order(tensors.size());
  std::iota(order.begin(), order.end(), 0u);
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
    if (tensors[a].offset != tensors[b].offset) return tensors[a].offset < tensors[b].offset;
    return a < b;
  });
  for (size_t i = 1; i < order.size(); ++i) {
    const GgufTensor& before = tensors[order[i - 1]];
    const GgufTensor& after = tensors[order[i]];
    if (before.offset + before.bytes > after.offset) {
      return CorruptError(after.entry_offset, "tensor ", Quote(after.name),
                          ": expected data of its own, got bytes ", RangeText(after),
                          ", which overlap tensor ", Quote(before.name), " at bytes ",
                          RangeText(before));
    }
  }
  return absl::OkStatus();
}

}  // namespace

int64_t GgufTensor::elements() const {
  int64_t product = 1;
  for (int64_t dim : shape()) product *= dim;
  return product;
}

absl::StatusOr<std::vector<GgufTensor>> ReadTensorTable(uint64_t count, uint32_t part,
                                                        ByteCursor& cursor) {
  std::vector<GgufTensor> tensors;
  // A count that lies reserves at most three times the file's size, of which no page is touched.
  tensors.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    GgufTensor tensor;
    tensor.part = part;
    tensor.entry_offset = cursor.position();
    absl::StatusOr<std::string_view> name = cursor.String("tensor name");
    if (!name.ok()) return Annotate(name.status(), StrCat("tensor ", i + 1, " of ", count));
    tensor.name = *name;
    if (absl::Status status = ReadEntry(cursor, tensor); !status.ok()) {
      return Annotate(status, StrCat("tensor ", i + 1, " of ", count, ": ", Quote(tensor.name)));
    }
    tensors.push_back(tensor);
  }
  return tensors;
}

absl::Status PlaceTensors(uint64_t data_offset, uint64_t alignment, uint64_t file_bytes,
                          std::vector<GgufTensor>& tensors) {
  for (GgufTensor& tensor : tensors) {
    if (tensor.offset % alignment != 0) {
      return CorruptError(tensor.entry_offset, "tensor ", Quote(tensor.name),
                          ": expected a data offset that is a multiple of the alignment ",
                          alignment, ", got ", tensor.offset);
    }
    const uint64_t room = file_bytes > data_offset ? file_bytes - data_offset : 0;
    if (tensor.offset > room || tensor.bytes > room - tensor.offset) {
      return TruncatedError(tensor.entry_offset, "tensor ", Quote(tensor.name), ": expected ",
                            tensor.bytes, " bytes at offset ", tensor.offset,
                            " of the data section, which begins at byte ", data_offset,
                            ", got a file that ends at byte ", file_bytes);
    }
    tensor.offset += data_offset;
  }
  return CheckOverlaps(tensors);
}

}  // namespace renga
