// The weights of a GPU plan in the emulator's memory, in the layouts that its kernels read.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/memory/region.h"
#include "runtime/memory/weights.h"
#include "runtime/plan/plan.h"
#include "tests/emulator/global_memory.h"

namespace renga::emulator {

// Read-only buffers of exactly their bytes, far from each other and aligned as a GPU's are. Must
// live as long as `memory` is used.
class DeviceWeights {
 public:
  static absl::StatusOr<DeviceWeights> Create(const plan::Plan& plan, const WeightStore& store,
                                              GlobalMemory* memory);

  // Where weight `index` of the plan is.
  const uint8_t* data(int index) const { return data_[index]; }

 private:
  Region region_;
  std::vector<const uint8_t*> data_;
};

}  // namespace renga::emulator
