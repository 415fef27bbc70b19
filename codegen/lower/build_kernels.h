// Code for the kernels of a plan: NVRTC for each of its targets, through the cache.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "codegen/nvrtc/build.h"
#include "runtime/plan/plan.h"

namespace renga::codegen {

struct PlanKernels {
  int64_t kernels = 0;   // of the plan
  int64_t compiled = 0;  // by NVRTC, of kernels x targets
  int64_t cached = 0;
  // Of those, for one block a multiprocessor where they should be for more: the target's compiler
  // finds no registers for that.
  int64_t relaxed = 0;
  double seconds = 0;
};

// Gives every kernel of a lowered plan an image for each of its targets. The plan stays as it was
// where that fails. Errors as BuildKernels, and as Validate.
absl::StatusOr<PlanKernels> BuildPlanKernels(const NvrtcLibrary& library,
                                             const BuildOptions& options, plan::Plan* plan);

}  // namespace renga::codegen
