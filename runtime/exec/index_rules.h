// Operands that kernels use as indices. Each must be an input whose values the executor bounds at
// every run by the very size that the kernel indexes, or the result of a kernel that cannot exceed
// it (the experts a router chose).
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "runtime/plan/plan.h"

namespace renga {

// Bounds that the plan itself puts on the input values, all exclusive.
struct IndexLimits {
  int64_t tokens = 0;  // rows of the smallest table that token ids index, and the model's vocab
};

// Checks every i32 operand of every step of a valid plan:
//   InvalidArgument  it is not the input that the kernel's rule names, or what it indexes does not
//                    have the size that the executor bounds that input by; or a result that
//                    overwrites an operand is another buffer
//   Unimplemented    the kernel has no rule for it
absl::StatusOr<IndexLimits> CheckIndexOperands(const plan::Plan& plan);

}  // namespace renga
