#include "codegen/lower/build_kernels.h"

#include <utility>
#include <vector>

#include "codegen/emit/cuda_source.h"
#include "ir/base/status.h"
#include "runtime/plan/launch.h"
#include "runtime/plan/pack_weight.h"
#include "runtime/plan/sample_args.h"
#include "runtime/plan/validate.h"

namespace renga::codegen {
namespace {

plan::GpuImage ImageOf(int32_t index, const GpuTarget& target, const BuiltKernel& built) {
  const KernelResources& resources = built.report.resources;
  return {.target = index,
          .registers = resources.registers,
          .stack_bytes = resources.stack_bytes,
          .static_shared = resources.static_shared,
          .blocks_per_sm = built.report.occupancy.blocks_per_sm,
          .warps_per_sm = built.report.occupancy.warps_per_sm,
          .limiter = std::string(built.report.occupancy.limiter),
          .cubin = built.binary->cubin,
          .ptx = target.ptx_runs_on_newer ? built.binary->ptx : "",
          .log = built.binary->log};
}

// A kernel that no step launches takes the runtime's struct, of that many bytes.
absl::Status CheckParameter(const std::string& whose, const plan::Plan& plan, int32_t kernel,
                            size_t bytes, absl::Span<const BuiltKernel> built) {
  const size_t targets = plan.gpu.targets.size();
  const int64_t expected =
      built[static_cast<size_t>(kernel) * targets].report.resources.parameter_bytes;
  if (expected == static_cast<int64_t>(bytes)) return absl::OkStatus();
  return absl::InternalError(StrCat(whose, ": kernel ", plan.gpu.kernels[kernel].name,
                                    ": expected arguments of ", expected, " bytes, got ", bytes));
}

// The struct that the launches, and those of packers and the sampler, pass is the one that the
// kernel takes.
absl::Status CheckParameters(const plan::Plan& plan, absl::Span<const BuiltKernel> built) {
  const size_t targets = plan.gpu.targets.size();
  for (const plan::Step& step : plan.steps) {
    for (const plan::Variant& variant : step.variants) {
      for (const plan::Launch& launch : variant.launches) {
        const int64_t bytes = static_cast<int64_t>(plan::ArgumentBytes(launch.args));
        const int64_t expected =
            built[static_cast<size_t>(launch.kernel) * targets].report.resources.parameter_bytes;
        if (bytes == expected) continue;
        return absl::InternalError(
            StrCat("step ", step.name, ": kernel ", plan.gpu.kernels[launch.kernel].name,
                   ": expected arguments of ", expected, " bytes, got ", bytes));
      }
    }
  }
  for (const plan::GpuPacker& packer : plan.gpu.packers) {
    RENGA_RETURN_IF_ERROR(CheckParameter(StrCat("packer of ", Name(packer.type)), plan,
                                         packer.kernel, sizeof(plan::PackWeightArgs), built));
  }
  if (plan.gpu.sampler.kernel < 0) return absl::OkStatus();
  return CheckParameter("sampler", plan, plan.gpu.sampler.kernel, sizeof(plan::SampleArgs), built);
}

}  // namespace

absl::StatusOr<PlanKernels> BuildPlanKernels(const NvrtcLibrary& library,
                                             const BuildOptions& options, plan::Plan* plan) {
  std::vector<const GpuTarget*> targets;
  for (const plan::GpuTarget& target : plan->gpu.targets) {
    RENGA_ASSIGN_OR_RETURN(targets.emplace_back(), FindGpuTarget(target.name));
  }
  const std::vector<int64_t> shared = plan::MaxDynamicShared(*plan);
  std::vector<KernelRequest> requests;
  for (size_t i = 0; i < plan->gpu.kernels.size(); ++i) {
    const plan::GpuKernel& kernel = plan->gpu.kernels[i];
    for (const GpuTarget* target : targets) {
      requests.push_back({{.name = kernel.name,
                           .context = kernel.ir,
                           .text = kernel.source,
                           .relaxed = WithOneBlockPerSm(kernel.source),
                           .threads = kernel.threads,
                           .dynamic_shared = shared[i]},
                          target});
    }
  }
  RENGA_ASSIGN_OR_RETURN(const KernelBuild build, BuildKernels(library, requests, options));
  RENGA_RETURN_IF_ERROR(CheckParameters(*plan, build.kernels));
  for (size_t i = 0; i < plan->gpu.kernels.size(); ++i) {
    std::vector<plan::GpuImage> images;
    for (size_t t = 0; t < targets.size(); ++t) {
      images.push_back(
          ImageOf(static_cast<int32_t>(t), *targets[t], build.kernels[i * targets.size() + t]));
    }
    plan->gpu.kernels[i].images = std::move(images);
  }
  RENGA_RETURN_IF_ERROR(plan::Validate(*plan));
  return PlanKernels{static_cast<int64_t>(plan->gpu.kernels.size()), build.compiled, build.cached,
                     build.relaxed, build.seconds};
}

}  // namespace renga::codegen
