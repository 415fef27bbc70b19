#include "tests/emulator/device/device_memory.h"

#include <algorithm>
#include <cstring>

#include "ir/base/status.h"
#include "runtime/plan/cache_layout.h"
#include "runtime/plan/layout.h"

namespace renga::emulator {
namespace {

// Bytes of a dense tensor at the sizes of a run: they stand at its start.
size_t BytesAt(const plan::TensorType& type, absl::Span<const int64_t> symbols) {
  int64_t elements = 1, last = 1;
  for (size_t axis = 0; axis < type.shape.size(); ++axis) {
    const plan::Dim& dim = type.shape[axis];
    last = dim.symbol < 0 ? dim.value : symbols[dim.symbol];
    if (axis + 1 < type.shape.size()) elements *= last;
  }
  return static_cast<size_t>(elements * RowBytes(type.dtype, last));
}

absl::Span<const uint8_t> BytesOf(absl::Span<const int32_t> values) {
  return {reinterpret_cast<const uint8_t*>(values.data()), values.size() * sizeof(int32_t)};
}

}  // namespace

absl::StatusOr<std::unique_ptr<DeviceMemory>> DeviceMemory::Create(const plan::Plan& plan,
                                                                   const WeightStore& store,
                                                                   Placement placement,
                                                                   GlobalMemory* memory) {
  std::unique_ptr<DeviceMemory> device(new DeviceMemory(plan, placement, memory));
  RENGA_ASSIGN_OR_RETURN(device->weights_, DeviceWeights::Create(plan, store, memory));
  RENGA_RETURN_IF_ERROR(device->Place());
  return device;
}

int32_t DeviceMemory::OwnerOf(int32_t buffer) const {
  const int32_t view_of = plan_.buffers[buffer].view_of;
  return view_of >= 0 ? view_of : buffer;
}

// Whether the buffer is one of the emulator's by itself.
bool DeviceMemory::HasOwnBytes(const plan::Buffer& buffer) const {
  if (buffer.view_of >= 0 || buffer.space == plan::Space::kWeight) return false;
  return buffer.space != plan::Space::kArena || placement_ == Placement::kApart;
}

absl::Status DeviceMemory::Place() {
  const size_t count = plan_.buffers.size();
  addresses_.assign(count, 0);
  inputs_.assign(plan_.inputs.size(), -1);
  lives_ = plan::Lifetimes(plan_);
  shares_.resize(count);
  uint64_t arena = 0;
  if (const uint64_t bytes = plan::ArenaBytes(plan_);
      bytes > 0 && placement_ == Placement::kArena) {
    RENGA_ASSIGN_OR_RETURN(void* base, memory_.Allocate("arena", bytes));
    arena = reinterpret_cast<uint64_t>(base);
  }
  for (size_t i = 0; i < count; ++i) {
    const plan::Buffer& buffer = plan_.buffers[i];
    if (buffer.space == plan::Space::kWeight) {
      addresses_[i] = reinterpret_cast<uint64_t>(weights_.data(buffer.index));
      continue;
    }
    if (HasOwnBytes(buffer)) {
      RENGA_ASSIGN_OR_RETURN(void* base, memory_.Allocate(buffer.name, buffer.bytes));
      addresses_[i] = reinterpret_cast<uint64_t>(base);
    } else if (buffer.view_of < 0) {
      addresses_[i] = arena + buffer.offset;
    }
    if (buffer.space == plan::Space::kInput && buffer.view_of < 0) {
      inputs_[buffer.index] = static_cast<int32_t>(i);
    }
    if (buffer.space == plan::Space::kPersistent && buffer.view_of < 0) {
      RENGA_RETURN_IF_ERROR(
          memory_.Write(at(static_cast<int32_t>(i)), std::vector<uint8_t>(buffer.bytes, 0)));
    }
  }
  for (size_t i = 0; i < count; ++i) {
    const plan::Buffer& buffer = plan_.buffers[i];
    if (buffer.view_of >= 0) addresses_[i] = addresses_[buffer.view_of];
    if (buffer.space != plan::Space::kArena || buffer.view_of >= 0) continue;
    for (size_t j = 0; j < count; ++j) {
      const plan::Buffer& other = plan_.buffers[j];
      if (i != j && other.space == plan::Space::kArena && other.view_of < 0 &&
          buffer.offset < other.offset + other.bytes &&
          other.offset < buffer.offset + buffer.bytes) {
        shares_[i].push_back(static_cast<int32_t>(j));
      }
    }
  }
  return absl::OkStatus();
}

absl::Status DeviceMemory::SetInput(int index, absl::Span<const int32_t> values) {
  const int32_t buffer = inputs_[index];
  RENGA_RETURN_IF_ERROR(memory_.Forget(at(buffer), plan_.buffers[buffer].bytes));
  if (values.empty()) return absl::OkStatus();
  return memory_.Write(at(buffer), BytesOf(values));
}

absl::Status DeviceMemory::Protect(int index, bool writable) {
  if (placement_ == Placement::kArena) return absl::OkStatus();
  const plan::Step& step = plan_.steps[index];
  const auto owns = [&](const std::vector<int32_t>& buffers, int32_t owner) {
    return std::any_of(buffers.begin(), buffers.end(),
                       [&](int32_t b) { return b >= 0 && OwnerOf(b) == owner; });
  };
  for (const int32_t input : step.inputs) {
    if (input < 0 || plan_.buffers[input].space == plan::Space::kWeight) continue;
    const int32_t owner = OwnerOf(input);
    if (owns(step.outputs, owner) || owns(step.scratch, owner)) continue;
    RENGA_RETURN_IF_ERROR(memory_.SetWritable(at(owner), writable));
  }
  return absl::OkStatus();
}

absl::Status DeviceMemory::BeginStep(int index) {
  for (size_t i = 0; i < plan_.buffers.size(); ++i) {
    const plan::Buffer& buffer = plan_.buffers[i];
    const bool begins =
        buffer.space == plan::Space::kArena && buffer.view_of < 0 && lives_[i].first == index;
    if (!begins) continue;
    RENGA_RETURN_IF_ERROR(memory_.Forget(at(static_cast<int32_t>(i)), buffer.bytes));
    if (placement_ == Placement::kArena) continue;
    for (const int32_t other : shares_[i]) {
      RENGA_RETURN_IF_ERROR(memory_.Forget(at(other), plan_.buffers[other].bytes));
    }
  }
  return Protect(index, false);
}

absl::Status DeviceMemory::CheckStep(int index, absl::Span<const int64_t> symbols,
                                     const StepInputs& inputs) {
  const plan::Step& step = plan_.steps[index];
  for (const int32_t output : step.outputs) {
    const plan::Buffer& buffer = plan_.buffers[output];
    if (buffer.space == plan::Space::kCache) {
      const plan::Cache& cache = plan_.caches[buffer.index];
      for (const int32_t cell :
           cache.group == 0 ? inputs.cells : inputs.windows[cache.group - 1].cells) {
        for (const auto& [from, bytes] : CellRanges(plan_, cache, cell)) {
          RENGA_RETURN_IF_ERROR(CheckWritten(output, from, bytes, StrCat("cell ", cell, " of ")));
        }
      }
    } else {
      RENGA_RETURN_IF_ERROR(CheckWritten(output, 0, BytesAt(buffer.type, symbols), ""));
    }
  }
  for (const int32_t scratch : step.scratch) {
    if (plan_.buffers[scratch].space == plan::Space::kPersistent) {
      RENGA_RETURN_IF_ERROR(CheckZero(scratch));
    }
  }
  return absl::OkStatus();
}

absl::Status DeviceMemory::EndStep(int index) {
  RENGA_RETURN_IF_ERROR(Protect(index, true));
  for (size_t i = 0; i < plan_.buffers.size(); ++i) {
    const plan::Buffer& buffer = plan_.buffers[i];
    const bool ends = buffer.space == plan::Space::kArena && buffer.view_of < 0 &&
                      lives_[i].last == index &&
                      index + 1 < static_cast<int>(plan_.steps.size());  // else an output may be
    if (ends) {
      RENGA_RETURN_IF_ERROR(memory_.Forget(at(static_cast<int32_t>(i)), buffer.bytes));
    }
  }
  return absl::OkStatus();
}

absl::Status DeviceMemory::CheckWritten(int32_t buffer, size_t from, size_t bytes,
                                        const std::string& what) {
  if (bytes == 0) return absl::OkStatus();
  RENGA_ASSIGN_OR_RETURN(
      const size_t first,
      memory_.FirstUnwritten(static_cast<const uint8_t*>(at(buffer)) + from, bytes));
  if (first == bytes) return absl::OkStatus();
  return absl::InternalError(StrCat("did not write all of ", what, "its output ",
                                    plan_.buffers[buffer].name, ": expected ", bytes,
                                    " bytes, the first that is missing is ", first));
}

absl::Status DeviceMemory::CheckZero(int32_t buffer) {
  const uint64_t bytes = plan_.buffers[buffer].bytes;
  const auto* values = static_cast<const uint8_t*>(at(buffer));
  const auto found = std::find_if(values, values + bytes, [](uint8_t byte) { return byte != 0; });
  if (found == values + bytes) return absl::OkStatus();
  return absl::InternalError(StrCat("left its scratch ", plan_.buffers[buffer].name,
                                    " other than zero, at byte ", found - values));
}

absl::Status DeviceMemory::CopyCell(int group, int32_t from, int32_t to) {
  for (size_t i = 0; i < plan_.buffers.size(); ++i) {
    const plan::Buffer& buffer = plan_.buffers[i];
    if (buffer.space != plan::Space::kCache || buffer.view_of >= 0) continue;
    const plan::Cache& cache = plan_.caches[buffer.index];
    if (cache.group != group) continue;
    auto* const base = static_cast<uint8_t*>(at(static_cast<int32_t>(i)));
    const std::vector<plan::ByteRange> source = CellRanges(plan_, cache, from);
    const std::vector<plan::ByteRange> target = CellRanges(plan_, cache, to);
    for (size_t range = 0; range < source.size(); ++range) {
      std::vector<uint8_t> bytes(source[range].bytes);
      RENGA_ASSIGN_OR_RETURN(
          const size_t written,
          memory_.FirstUnwritten(base + source[range].offset, source[range].bytes));
      RENGA_RETURN_IF_ERROR(memory_.Forget(base + target[range].offset, target[range].bytes));
      if (written < bytes.size()) continue;
      RENGA_RETURN_IF_ERROR(memory_.Read(base + source[range].offset, absl::MakeSpan(bytes)));
      RENGA_RETURN_IF_ERROR(memory_.Write(base + target[range].offset, bytes));
    }
  }
  return absl::OkStatus();
}

absl::Status DeviceMemory::ForgetCells(int group, absl::Span<const int32_t> cells) {
  for (size_t i = 0; i < plan_.buffers.size(); ++i) {
    const plan::Buffer& buffer = plan_.buffers[i];
    if (buffer.space != plan::Space::kCache || buffer.view_of >= 0) continue;
    if (plan_.caches[buffer.index].group != group) continue;
    auto* const base = static_cast<uint8_t*>(at(static_cast<int32_t>(i)));
    for (const int32_t cell : cells) {
      for (const auto& [from, bytes] : CellRanges(plan_, plan_.caches[buffer.index], cell)) {
        RENGA_RETURN_IF_ERROR(memory_.Forget(base + from, bytes));
      }
    }
  }
  return absl::OkStatus();
}

absl::Status DeviceMemory::Read(int buffer, absl::Span<const int64_t> symbols,
                                std::vector<uint8_t>* bytes) {
  bytes->resize(BytesAt(plan_.buffers[buffer].type, symbols));
  if (bytes->empty()) return absl::OkStatus();
  return memory_.Read(at(buffer), absl::MakeSpan(*bytes));
}

absl::Status DeviceMemory::ReadCell(int buffer, int32_t cell, std::vector<uint8_t>* bytes) {
  const plan::Cache& cache = plan_.caches[plan_.buffers[buffer].index];
  bytes->resize(cache.cell_bytes);
  absl::Span<uint8_t> rest = absl::MakeSpan(*bytes);
  for (const auto& [from, count] : CellRanges(plan_, cache, cell)) {
    RENGA_RETURN_IF_ERROR(
        memory_.Read(static_cast<uint8_t*>(at(buffer)) + from, rest.first(count)));
    rest.remove_prefix(count);
  }
  return absl::OkStatus();
}

absl::Status DeviceMemory::ReadBytes(int buffer, uint64_t offset, absl::Span<uint8_t> to) {
  return memory_.Read(static_cast<uint8_t*>(at(buffer)) + offset, to);
}

absl::Status DeviceMemory::WriteBytes(int buffer, uint64_t offset, absl::Span<const uint8_t> from) {
  return memory_.Write(static_cast<uint8_t*>(at(buffer)) + offset, from);
}

}  // namespace renga::emulator
