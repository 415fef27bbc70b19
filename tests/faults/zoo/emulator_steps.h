// Steps of a GPU plan on the emulator with every value kept: verify for CUDA kernels.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "tests/emulator/device/emulator_device.h"
#include "tools/step_memory.h"
#include "tools/step_recorder.h"

namespace renga::faults {

// Of an emulated device, which must outlive it.
class EmulatorMemory final : public StepMemory {
 public:
  explicit EmulatorMemory(emulator::EmulatorDevice& device) : device_(device) {}
  const plan::Plan& plan() const override { return device_.plan(); }
  absl::Span<const int64_t> sizes() const override { return device_.sizes(); }
  absl::Status Read(int32_t buffer, uint64_t offset, absl::Span<uint8_t> to) const override;
  absl::Status Write(int32_t buffer, uint64_t offset,
                     absl::Span<const uint8_t> from) const override {
    return device_.WriteBytes(buffer, offset, from);
  }

 private:
  emulator::EmulatorDevice& device_;
};

// Errors as EmulatorDevice::Create and Parse. Cells that nothing has written count as zeros.
absl::StatusOr<std::unique_ptr<StepRecorder>> OpenEmulatorSteps(
    std::shared_ptr<const plan::Plan> plan, emulator::DeviceOptions options);

}  // namespace renga::faults
