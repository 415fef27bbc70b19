// The kernels of a plan for the cpu, step by step, and what they work in besides the plan's memory.
#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/device/cpu/kernel.h"
#include "runtime/plan/plan.h"

namespace renga {

// Where a step's kernel is found by its name; null: the built-in ones.
using FindCpuKernel = std::function<const cpu::KernelDef*(std::string_view name)>;

// One kernel a step of a valid plan. Errors, which name the step: those of the kernels' checks;
// Unimplemented for a kernel or a step kind that the cpu lacks.
absl::StatusOr<std::vector<cpu::PreparedKernel>> PrepareCpuKernels(
    const plan::Plan& plan, const FindCpuKernel& find_kernel = nullptr);

// The most that their scratch memory takes with that many threads, in bytes a thread and for all:
// in steps as long as they may be, and in steps of one token of each sequence, both at the end of
// the context. A step in between may take some more, 2 MiB at most (attention.cc).
cpu::ScratchBytes CpuScratch(const plan::Plan& plan,
                             const std::vector<cpu::PreparedKernel>& kernels, int threads);

}  // namespace renga
