#include "runtime/plan/layout.h"

#include <algorithm>

#include "ir/base/packing.h"
#include "ir/base/status.h"
#include "ir/base/windows.h"
#include "runtime/plan/sample_args.h"

namespace renga::plan {

namespace {

// Of a tensor whose sizes have been found legal, without padding.
absl::StatusOr<uint64_t> PackedTensorBytes(const TensorType& type) {
  const Layout* layout = FindLayout(type.layout);
  if (layout == nullptr) {
    return absl::InvalidArgumentError(
        StrCat("layout: expected one of ", LayoutNames(), ", got ", type.layout));
  }
  uint64_t matrices = 1;
  for (size_t axis = 0; axis < type.shape.size(); ++axis) {
    const Dim& dim = type.shape[axis];
    if (dim.symbol >= 0) {
      return absl::InvalidArgumentError(
          StrCat("layout ", type.layout, ": expected constant sizes, got a symbol"));
    }
    if (axis + 2 < type.shape.size()) matrices *= static_cast<uint64_t>(dim.value);
  }
  if (type.shape.size() < 2) {
    return absl::InvalidArgumentError(
        StrCat("layout ", type.layout, ": expected rows to pack, got one"));
  }
  const int64_t rows = type.shape[type.shape.size() - 2].value, k = type.shape.back().value;
  RENGA_ASSIGN_OR_RETURN(const int64_t bytes, PackedBytes(*layout, type.dtype, rows, k));
  if (static_cast<uint64_t>(bytes) > kMaxBytes / matrices) {
    return absl::InvalidArgumentError(
        StrCat("size: expected at most ", kMaxBytes, " bytes, got more"));
  }
  return static_cast<uint64_t>(bytes) * matrices;
}

}  // namespace

absl::StatusOr<uint64_t> MaxBytes(const TensorType& type, const std::vector<Symbol>& symbols) {
  if (type.shape.empty() || type.shape.size() > 4) {
    return absl::InvalidArgumentError(StrCat("rank: expected 1 to 4, got ", type.shape.size()));
  }
  const DTypeInfo& info = Info(type.dtype);
  uint64_t elements = 1;
  for (size_t axis = 0; axis < type.shape.size(); ++axis) {
    const Dim& dim = type.shape[axis];
    if (dim.symbol >= static_cast<int64_t>(symbols.size())) {
      return absl::InvalidArgumentError(StrCat("axis ", axis, ": expected one of ", symbols.size(),
                                               " symbols, got symbol ", dim.symbol));
    }
    const int64_t size = dim.symbol < 0 ? dim.value : symbols[dim.symbol].max;
    if (size <= 0) {
      return absl::InvalidArgumentError(
          StrCat("axis ", axis, ": expected a size of 1 or more, got ", size));
    }
    if (static_cast<uint64_t>(size) > kMaxBytes / elements) {
      return absl::InvalidArgumentError(
          StrCat("size: expected at most ", kMaxBytes, " bytes, got more"));
    }
    elements *= static_cast<uint64_t>(size);
  }
  const Dim& last = type.shape.back();
  if (info.block_elements > 1 && (last.symbol >= 0 || last.value % info.block_elements != 0)) {
    return absl::InvalidArgumentError(StrCat("last axis: expected a multiple of ",
                                             info.block_elements, " (a block of ", info.name,
                                             "), got ", ToString(type, symbols)));
  }
  const uint64_t blocks = elements / static_cast<uint64_t>(info.block_elements);
  if (blocks > kMaxBytes / static_cast<uint64_t>(info.block_bytes)) {
    return absl::InvalidArgumentError(
        StrCat("size: expected at most ", kMaxBytes, " bytes, got more"));
  }
  if (!type.layout.empty()) return PackedTensorBytes(type);
  return blocks * static_cast<uint64_t>(info.block_bytes);
}

TensorType TypeOf(const Weight& weight) {
  TensorType type = {weight.source.dtype, {}, weight.layout};
  for (const int64_t size : weight.source.shape) type.shape.push_back({-1, size});
  return type;
}

uint64_t StoredBytes(const Weight& weight) {
  return weight.layout.empty() ? weight.source.bytes
                               : MaxBytes(TypeOf(weight), {}).value_or(weight.source.bytes);
}

std::string ToString(const TensorType& type, const std::vector<Symbol>& symbols) {
  std::string text = StrCat(Name(type.dtype), "[");
  for (size_t i = 0; i < type.shape.size(); ++i) {
    const Dim& dim = type.shape[i];
    if (i > 0) text += ",";
    if (dim.symbol < 0) {
      StrAppend(&text, dim.value);
    } else if (static_cast<size_t>(dim.symbol) < symbols.size()) {
      text += symbols[dim.symbol].name;
    } else {
      text += "?";
    }
  }
  return text + "]";
}

int32_t FindSymbol(const Plan& plan, std::string_view name) {
  for (size_t i = 0; i < plan.symbols.size(); ++i) {
    if (plan.symbols[i].name == name) return static_cast<int32_t>(i);
  }
  return -1;
}

int64_t SymbolMax(const Plan& plan, std::string_view name, int64_t otherwise) {
  const int32_t symbol = FindSymbol(plan, name);
  return symbol < 0 ? otherwise : plan.symbols[symbol].max;
}

int32_t OutputBuffer(const Plan& plan, std::string_view name) {
  if (std::find(plan.outputs.begin(), plan.outputs.end(), name) == plan.outputs.end()) return -1;
  for (size_t i = 0; i < plan.buffers.size(); ++i) {
    const Buffer& buffer = plan.buffers[i];
    if (buffer.space != Space::kWeight && buffer.name == name) return static_cast<int32_t>(i);
  }
  return -1;
}

int GroupsOf(const Plan& plan) { return 1 + static_cast<int>(plan.geometry.windows.size()); }

int64_t WindowOf(const Plan& plan, int group) {
  return group == 0 ? 0 : plan.geometry.windows[group - 1];
}

int64_t CacheCells(const Plan& plan, int group) {
  return SymbolMax(plan, WindowSymbol("C", WindowOf(plan, group)), 0);
}

uint64_t CacheBytes(const Plan& plan, const Cache& cache) {
  return AlignUp(static_cast<uint64_t>(CacheCells(plan, cache.group)) * cache.cell_bytes);
}

int64_t PagesOf(const Geometry& geometry, int64_t tokens, int64_t window) {
  const int64_t pages = (tokens + geometry.page_tokens - 1) / geometry.page_tokens;
  return window == 0
             ? pages
             : std::min(pages, WindowPages(window, geometry.max_step_tokens, geometry.page_tokens));
}

namespace {

uint64_t EndOf(const Plan& plan, Space space) {
  uint64_t end = 0;
  for (const Buffer& buffer : plan.buffers) {
    if (buffer.space == space) end = std::max(end, buffer.offset + buffer.bytes);
  }
  return AlignUp(end);
}

}  // namespace

uint64_t ArenaBytes(const Plan& plan) { return EndOf(plan, Space::kArena); }

uint64_t PersistentBytes(const Plan& plan) { return EndOf(plan, Space::kPersistent); }

uint64_t SamplingBytes(const Plan& plan) {
  if (plan.gpu.sampler.kernel < 0) return 0;
  const SampleMemory memory = SampleMemoryOf(plan);
  return memory.input_bytes + memory.bytes;
}

Memory ComputeMemory(const Plan& plan) {
  Memory memory;
  const uint64_t alignment = plan.gpu.targets.empty() ? 1 : kGpuWeightAlignment;
  for (const Weight& weight : plan.weights) {
    memory.weights += (StoredBytes(weight) + alignment - 1) / alignment * alignment;
  }
  for (const Cache& cache : plan.caches) memory.kv += CacheBytes(plan, cache);
  memory.activations = ArenaBytes(plan) + PersistentBytes(plan) + SamplingBytes(plan);
  for (const Buffer& buffer : plan.buffers) {
    if (buffer.space == Space::kInput && buffer.view_of < 0) {
      memory.activations += AlignUp(buffer.bytes);
    }
  }
  return memory;
}

}  // namespace renga::plan
