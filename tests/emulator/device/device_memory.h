// The buffers of a GPU plan in the emulator's memory, and what a step may do with them.
//
// Activations hold garbage whenever the plan does not promise a value: before the step that writes
// them first and after the one that reads them last. So a value that is read too late, or that
// another buffer has replaced because the memory plan let them share bytes, is read as memory that
// nothing has written.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/exec/step_inputs.h"
#include "runtime/plan/lifetime.h"
#include "runtime/plan/plan.h"
#include "tests/emulator/device/device_weights.h"
#include "tests/emulator/global_memory.h"

namespace renga::emulator {

// Where activations lie.
enum class Placement : uint8_t {
  // Each by itself, so that an access beyond its bytes is seen and a step cannot write to what it
  // only reads. A buffer that begins to live takes the values of all that share bytes with it.
  kApart,
  // At the plan's offsets in one stretch, so that two kernels that run beside each other are seen
  // where they use the same bytes for different buffers.
  kArena,
};

class DeviceMemory {
 public:
  // For a valid plan. `plan`, `store` and `memory` must outlive this.
  static absl::StatusOr<std::unique_ptr<DeviceMemory>> Create(const plan::Plan& plan,
                                                              const WeightStore& store,
                                                              Placement placement,
                                                              GlobalMemory* memory);

  // Address of each of the plan's buffers.
  absl::Span<const uint64_t> addresses() const { return addresses_; }

  // Fills input `index` of the plan; the rest of its buffer holds nothing.
  absl::Status SetInput(int index, absl::Span<const int32_t> values);

  // What comes before the launches of a step, and after them: whether it did what it should, that
  // is wrote all of its outputs and left its persistent scratch zero; then the end of what it reads
  // last. `symbols` are the sizes of this run, `inputs` say which cells its tokens write.
  absl::Status BeginStep(int step);
  absl::Status CheckStep(int step, absl::Span<const int64_t> symbols, const StepInputs& inputs);
  absl::Status EndStep(int step);

  // Copies a cell of all caches of a group, or empties the other where nothing has written all of
  // it.
  absl::Status CopyCell(int group, int32_t from, int32_t to);

  // Empties cells of all caches of a group.
  absl::Status ForgetCells(int group, absl::Span<const int32_t> cells);

  // Bytes of a buffer at the sizes of this run, or of one cell of a cache. An error where nothing
  // has written some of them.
  absl::Status Read(int buffer, absl::Span<const int64_t> symbols, std::vector<uint8_t>* bytes);
  absl::Status ReadCell(int buffer, int32_t cell, std::vector<uint8_t>* bytes);
  // Any bytes of one, whatever the sizes.
  absl::Status ReadBytes(int buffer, uint64_t offset, absl::Span<uint8_t> to);
  absl::Status WriteBytes(int buffer, uint64_t offset, absl::Span<const uint8_t> from);

 private:
  DeviceMemory(const plan::Plan& plan, Placement placement, GlobalMemory* memory)
      : plan_(plan), placement_(placement), memory_(*memory) {}

  absl::Status Place();
  int32_t OwnerOf(int32_t buffer) const;
  void* at(int32_t buffer) const { return reinterpret_cast<void*>(addresses_[buffer]); }
  bool HasOwnBytes(const plan::Buffer& buffer) const;
  absl::Status Protect(int step, bool writable);
  absl::Status CheckWritten(int32_t buffer, size_t from, size_t bytes, const std::string& what);
  absl::Status CheckZero(int32_t buffer);

  const plan::Plan& plan_;
  const Placement placement_;
  GlobalMemory& memory_;
  DeviceWeights weights_;
  std::vector<uint64_t> addresses_;  // by buffer
  std::vector<plan::Lifetime> lives_;
  std::vector<std::vector<int32_t>> shares_;  // owners whose bytes an owner takes over
  std::vector<int32_t> inputs_;               // buffer of each of Plan::inputs
};

}  // namespace renga::emulator
