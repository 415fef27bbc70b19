// The kernel with which a plan samples.
#pragma once

#include "codegen/emit/plan_builder.h"
#include "runtime/plan/plan.h"

namespace renga::codegen {

// The same for every plan, without code. Its launches have SampleShared() (kernel_shapes.h) bytes
// of dynamic shared memory.
plan::GpuKernel SampleGpuKernel();

// Gives a plan for GPUs its sampler, where the plan has what that reads; others sample on the host.
// It is no step: it is launched only where somebody samples, and what it computes is no value of
// the model. The builder is the plan's, whose outputs are known.
void AddSampler(PlanBuilder& builder, plan::Plan& plan);

}  // namespace renga::codegen
