// Steps of a GPU plan on the emulator with every value kept: verify for CUDA kernels.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "tests/emulator/device/emulator_device.h"
#include "tools/step_recorder.h"

namespace renga::faults {

// Errors as EmulatorDevice::Create and Parse. Cells that nothing has written count as zeros.
absl::StatusOr<std::unique_ptr<StepRecorder>> OpenEmulatorSteps(
    std::shared_ptr<const plan::Plan> plan, emulator::DeviceOptions options);

}  // namespace renga::faults
