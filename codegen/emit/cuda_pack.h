// The kernels that put weights into the layout `mma` as a plan is loaded.
#pragma once

#include "codegen/emit/plan_builder.h"
#include "runtime/plan/plan.h"

namespace renga::codegen {

// The kernel of a type that has that layout, without code. Its launches have PackShared(type)
// (kernel_shapes.h) bytes of dynamic shared memory.
plan::GpuKernel PackGpuKernel(DType type);

// Gives the plan a packer for each type of which a weight has that layout, in the order in which
// they come, and the kernels. Nothing for the cpu. The builder is the plan's.
void AddPackers(PlanBuilder& builder, plan::Plan& plan);

}  // namespace renga::codegen
