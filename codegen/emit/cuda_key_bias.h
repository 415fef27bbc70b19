// The bias of keys that attention on GPUs adds (codegen/kernels/key_bias.cuh).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "codegen/emit/cuda_step.h"

namespace renga::codegen {

struct CudaKeyBias {
  int32_t buffer = -1;              // below 0: the keys are whole in their cache
  int64_t dims = 0;                 // of a head, that are turned
  std::vector<std::string> config;  // struct Rope

  bool there() const { return buffer >= 0; }
};

// Operand `k_bias` of the step. Unimplemented, saying why, where it is one that no kernel adds.
absl::StatusOr<CudaKeyBias> KeyBiasOf(const CudaStep& step);

}  // namespace renga::codegen
