#include "tools/step_memory.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "ir/base/status.h"
#include "runtime/device/cpu/cache_ops.h"
#include "runtime/device/cpu/float_ops.h"
#include "runtime/plan/cache_layout.h"
#include "runtime/plan/layout.h"

namespace renga {
namespace {

const plan::Cache* CacheOf(const plan::Plan& plan, int32_t buffer) {
  const plan::Buffer& of = plan.buffers[static_cast<size_t>(buffer)];
  return of.space == plan::Space::kCache ? &plan.caches[static_cast<size_t>(of.index)] : nullptr;
}

// Where a cache has the scales of its blocks apart: the quants and the scales of some cells, and
// their blocks, which begin with the scale.
struct Parts {
  size_t block_bytes, scale_bytes = 2, blocks;  // of all the cells

  Parts(const plan::Cache& cache, int64_t cells)
      : block_bytes(static_cast<size_t>(Info(cache.dtype).block_bytes)),
        blocks(static_cast<size_t>(cells) * cache.cell_bytes / block_bytes) {}
  size_t quant_bytes() const { return block_bytes - scale_bytes; }

  void Join(const uint8_t* quants, const uint8_t* scales, uint8_t* to) const {
    for (size_t i = 0; i < blocks; ++i, to += block_bytes) {
      std::memcpy(to, scales + i * scale_bytes, scale_bytes);
      std::memcpy(to + scale_bytes, quants + i * quant_bytes(), quant_bytes());
    }
  }
  void Part(const uint8_t* from, uint8_t* quants, uint8_t* scales) const {
    for (size_t i = 0; i < blocks; ++i, from += block_bytes) {
      std::memcpy(scales + i * scale_bytes, from, scale_bytes);
      std::memcpy(quants + i * quant_bytes(), from + scale_bytes, quant_bytes());
    }
  }
};

// Cells from the first on, one after another, their blocks whole.
absl::Status ReadCells(const StepMemory& memory, int32_t buffer, const plan::Cache& cache,
                       int64_t cells, std::vector<uint8_t>* bytes) {
  bytes->resize(static_cast<size_t>(cells) * cache.cell_bytes);
  if (cells == 0) return absl::OkStatus();
  const uint64_t scales = plan::ScalesOffset(memory.plan(), cache);
  if (scales == 0) return memory.Read(buffer, 0, absl::MakeSpan(*bytes));
  const Parts parts(cache, cells);
  std::vector<uint8_t> quants(parts.blocks * parts.quant_bytes());
  std::vector<uint8_t> apart(parts.blocks * parts.scale_bytes);
  RENGA_RETURN_IF_ERROR(memory.Read(buffer, 0, absl::MakeSpan(quants)));
  RENGA_RETURN_IF_ERROR(memory.Read(buffer, scales, absl::MakeSpan(apart)));
  parts.Join(quants.data(), apart.data(), bytes->data());
  return absl::OkStatus();
}

absl::Status WriteCell(const StepMemory& memory, int32_t buffer, const plan::Cache& cache,
                       int64_t cell, absl::Span<const uint8_t> bytes) {
  const std::vector<plan::ByteRange> places = plan::CellRanges(memory.plan(), cache, cell);
  if (places.size() == 1) return memory.Write(buffer, places[0].offset, bytes);
  const Parts parts(cache, 1);
  std::vector<uint8_t> quants(places[0].bytes), scales(places[1].bytes);
  parts.Part(bytes.data(), quants.data(), scales.data());
  RENGA_RETURN_IF_ERROR(memory.Write(buffer, places[0].offset, quants));
  return memory.Write(buffer, places[1].offset, scales);
}

absl::StatusOr<StoredTensor> ReadRaw(const StepMemory& memory, int32_t buffer, int64_t cells) {
  const plan::Buffer& of = memory.plan().buffers[static_cast<size_t>(buffer)];
  StoredTensor stored;
  stored.dtype = of.type.dtype;
  stored.shape = ShapeOf(memory, buffer);
  if (const plan::Cache* cache = CacheOf(memory.plan(), buffer)) {
    stored.shape[0] = std::min(plan::CacheCells(memory.plan(), cache->group), cells);
    RENGA_RETURN_IF_ERROR(ReadCells(memory, buffer, *cache, stored.shape[0], &stored.bytes));
    return stored;
  }
  const int64_t width = stored.shape.empty() ? 1 : stored.shape.back();
  const int64_t rows = Count(stored.shape) / std::max<int64_t>(width, 1);
  stored.bytes.resize(static_cast<size_t>(rows * RowBytes(of.type.dtype, width)));
  RENGA_RETURN_IF_ERROR(memory.Read(buffer, 0, absl::MakeSpan(stored.bytes)));
  return stored;
}

// What rows of a type that caches can have stand for.
absl::StatusOr<std::vector<float>> Unpacked(const StoredTensor& stored) {
  const std::optional<cpu::CacheOps> ops = cpu::FindCacheOps(stored.dtype);
  if (!ops) {
    return absl::UnimplementedError(
        StrCat("expected a type that a cache can have, got ", Name(stored.dtype)));
  }
  const int64_t width = stored.shape.empty() ? 1 : stored.shape.back();
  const int64_t row_bytes = RowBytes(stored.dtype, width);
  std::vector<float> numbers(static_cast<size_t>(Count(stored.shape)));
  std::vector<float> row(static_cast<size_t>(cpu::FloatStride(width)));
  for (int64_t r = 0; r * width < static_cast<int64_t>(numbers.size()); ++r) {
    ops->unpack(stored.bytes.data() + r * row_bytes, width, row.data());
    std::copy_n(row.begin(), width, numbers.begin() + r * width);
  }
  return numbers;
}

absl::Span<const uint8_t> BytesOf(absl::Span<const int32_t> values) {
  return {reinterpret_cast<const uint8_t*>(values.data()), values.size() * sizeof(int32_t)};
}

}  // namespace

int64_t Count(absl::Span<const int64_t> shape) {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return count;
}

std::vector<int64_t> ShapeOf(const StepMemory& memory, int32_t buffer) {
  std::vector<int64_t> shape;
  for (const plan::Dim& dim : memory.plan().buffers[static_cast<size_t>(buffer)].type.shape) {
    shape.push_back(dim.symbol < 0 ? dim.value : memory.sizes()[static_cast<size_t>(dim.symbol)]);
  }
  return shape;
}

absl::Status CpuMemory::Read(int32_t buffer, uint64_t offset, absl::Span<uint8_t> to) const {
  if (!to.empty()) std::memcpy(to.data(), executor_.tensor(buffer).data + offset, to.size());
  return absl::OkStatus();
}

absl::Status CpuMemory::Write(int32_t buffer, uint64_t offset,
                              absl::Span<const uint8_t> from) const {
  if (!from.empty()) std::memcpy(executor_.tensor(buffer).data + offset, from.data(), from.size());
  return absl::OkStatus();
}

absl::StatusOr<StoredTensor> ReadStored(const StepMemory& memory, int32_t buffer, int64_t cells) {
  RENGA_ASSIGN_OR_RETURN(StoredTensor stored, ReadRaw(memory, buffer, cells));
  if (!IsCoarse(stored.dtype)) return stored;
  RENGA_ASSIGN_OR_RETURN(const std::vector<float> numbers, Unpacked(stored));
  stored.dtype = DType::kF32;
  stored.bytes.resize(numbers.size() * sizeof(float));
  if (!numbers.empty()) std::memcpy(stored.bytes.data(), numbers.data(), stored.bytes.size());
  return stored;
}

absl::StatusOr<HostTensor> ReadTensor(const StepMemory& memory, int32_t buffer, int64_t cells) {
  RENGA_ASSIGN_OR_RETURN(const StoredTensor stored, ReadRaw(memory, buffer, cells));
  HostTensor tensor;
  tensor.dtype = stored.dtype;
  tensor.shape = stored.shape;
  if (stored.dtype == DType::kI32) {
    tensor.Allocate();
    if (!tensor.i.empty()) std::memcpy(tensor.i.data(), stored.bytes.data(), stored.bytes.size());
    return tensor;
  }
  RENGA_ASSIGN_OR_RETURN(tensor.f, Unpacked(stored));
  return tensor;
}

absl::StatusOr<std::string> CellBytes(const plan::Plan& plan, const plan::Cache& cache,
                                      const HostTensor& tensor) {
  const std::optional<cpu::CacheOps> ops = cpu::FindCacheOps(cache.dtype);
  if (!ops) return absl::UnimplementedError(StrCat("cannot round numbers to ", Name(cache.dtype)));
  const int64_t cells = tensor.shape.empty() ? 0 : tensor.shape[0], width = cache.head_dim;
  const int64_t row_bytes = RowBytes(cache.dtype, width);
  std::string bytes(static_cast<size_t>(cells) * cache.cell_bytes, '\0');
  auto* const blocks = reinterpret_cast<uint8_t*>(bytes.data());
  for (int64_t row = 0; row < cells * cache.heads; ++row) {
    ops->store(tensor.f.data() + row * width, width, blocks + row * row_bytes);
  }
  const uint64_t scales = plan::ScalesOffset(plan, cache);
  if (scales == 0) return bytes;
  const Parts parts(cache, cells);
  std::string apart(static_cast<size_t>(scales) + parts.blocks * parts.scale_bytes, '\0');
  auto* const quants = reinterpret_cast<uint8_t*>(apart.data());
  parts.Part(blocks, quants, quants + scales);
  return apart;
}

absl::Status WriteTensor(const StepMemory& memory, int32_t buffer, const HostTensor& tensor,
                         absl::Span<const int32_t> cells) {
  const DType type = memory.plan().buffers[static_cast<size_t>(buffer)].type.dtype;
  const plan::Cache* const cache = CacheOf(memory.plan(), buffer);
  std::vector<int64_t> shape = ShapeOf(memory, buffer);
  if (cache != nullptr) shape[0] = tensor.shape.empty() ? 0 : tensor.shape[0];
  if (shape != tensor.shape || (type == DType::kI32) != (tensor.dtype == DType::kI32)) {
    return absl::InvalidArgumentError(StrCat("expected ", Name(type), " of sizes [",
                                             StrJoin(shape, ","), "], got ", Name(tensor.dtype),
                                             " of [", StrJoin(tensor.shape, ","), "]"));
  }
  if (type == DType::kI32) return memory.Write(buffer, 0, BytesOf(tensor.i));
  const std::optional<cpu::CacheOps> ops = cpu::FindCacheOps(type);
  if (!ops) return absl::UnimplementedError(StrCat("cannot round numbers to ", Name(type)));
  const int64_t width = shape.empty() ? 1 : shape.back();
  const int64_t row_bytes = RowBytes(type, width);
  // Rows from `first` on, stored.
  const auto stored = [&](int64_t first, int64_t rows) {
    std::vector<uint8_t> bytes(static_cast<size_t>(rows * row_bytes));
    for (int64_t row = 0; row < rows; ++row) {
      ops->store(tensor.f.data() + (first + row) * width, width, bytes.data() + row * row_bytes);
    }
    return bytes;
  };
  if (cache == nullptr) {
    return memory.Write(buffer, 0, stored(0, Count(shape) / std::max<int64_t>(width, 1)));
  }
  const int64_t heads = shape[1];
  for (const int32_t cell : cells) {
    if (cell < 0 || cell >= shape[0]) {
      return absl::InvalidArgumentError(
          StrCat("cells: expected 0..", shape[0] - 1, ", got ", cell));
    }
    RENGA_RETURN_IF_ERROR(WriteCell(memory, buffer, *cache, cell, stored(cell * heads, heads)));
  }
  return absl::OkStatus();
}

}  // namespace renga
