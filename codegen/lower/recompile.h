// Code for a GPU that a plan was not compiled for: its kernels from their sources, everything else
// of the plan as it is.
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "codegen/lower/build_kernels.h"
#include "codegen/nvrtc/target.h"
#include "runtime/plan/plan.h"

namespace renga::codegen {

// Whether the launches of a valid plan for GPUs, which were chosen for others, can run on `target`:
// FailedPrecondition where one needs more shared memory, or what the GPU does not have, saying
// which and what to compile.
absl::Status CheckLaunchesFit(const plan::Plan& plan, const GpuTarget& target);

// Gives the plan code for `target` instead of what it has. It stays as it was where that fails.
// Errors of CheckLaunchesFit and BuildPlanKernels.
absl::StatusOr<PlanKernels> RecompilePlan(const NvrtcLibrary& library, const BuildOptions& options,
                                          const GpuTarget& target, plan::Plan* plan);

}  // namespace renga::codegen
