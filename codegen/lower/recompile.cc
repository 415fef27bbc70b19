#include "codegen/lower/recompile.h"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ir/base/status.h"
#include "runtime/plan/launch.h"

namespace renga::codegen {
namespace {

// The header that every kernel which multiplies by warpgroups includes.
constexpr std::string_view kWgmmaHeader = "codegen/kernels/matmul_wgmma.cuh";
// The copy engine that reads tensor maps is there from this compute capability on (CUDA C++
// Programming Guide, "Tensor Memory Access").
constexpr int kTensorMapSm = 90;

absl::Status Unfit(const plan::Plan& plan, const GpuTarget& target, std::string_view kernel,
                   std::string_view reason) {
  const std::string gguf = plan.files.empty() ? "MODEL.gguf" : plan.files[0].path;
  return absl::FailedPreconditionError(StrCat("kernel ", kernel, ": ", reason, ", so launches for ",
                                              plan.target, " cannot be kept; run  renga compile ",
                                              gguf, " --target ", target.name, " -o X.plan"));
}

}  // namespace

absl::Status CheckLaunchesFit(const plan::Plan& plan, const GpuTarget& target) {
  const std::vector<int64_t> shared = plan::MaxDynamicShared(plan);
  for (size_t i = 0; i < plan.gpu.kernels.size(); ++i) {
    const plan::GpuKernel& kernel = plan.gpu.kernels[i];
    if (shared[i] > target.shared_per_block) {
      return Unfit(
          plan, target, kernel.name,
          StrCat("expected at most ", target.shared_per_block,
                 " bytes of shared memory a block, which ", target.name, " has, got ", shared[i]));
    }
    if (!target.wgmma && kernel.source.find(kWgmmaHeader) != kernel.source.npos) {
      return Unfit(plan, target, kernel.name,
                   StrCat("needs wgmma, which ", target.name, " does not have"));
    }
  }
  if (target.sm >= kTensorMapSm) return absl::OkStatus();
  for (const plan::Step& step : plan.steps) {
    for (const plan::Variant& variant : step.variants) {
      for (const plan::Launch& launch : variant.launches) {
        for (const plan::Arg& arg : launch.args) {
          if (arg.kind != plan::ArgKind::kTensorMap) continue;
          return Unfit(plan, target, plan.gpu.kernels[launch.kernel].name,
                       StrCat("needs tensor maps, which ", target.name, " does not have"));
        }
      }
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<PlanKernels> RecompilePlan(const NvrtcLibrary& library, const BuildOptions& options,
                                          const GpuTarget& target, plan::Plan* plan) {
  RENGA_RETURN_IF_ERROR(CheckLaunchesFit(*plan, target));
  plan::Plan here = *plan;
  here.target = std::string(target.name);
  here.gpu.targets = {{.name = here.target,
                       .sm = target.sm,
                       .shared_per_block = target.shared_per_block,
                       .only_this = !target.ptx_runs_on_newer}};
  for (plan::GpuKernel& kernel : here.gpu.kernels) kernel.images.clear();
  RENGA_ASSIGN_OR_RETURN(const PlanKernels built, BuildPlanKernels(library, options, &here));
  *plan = std::move(here);
  return built;
}

}  // namespace renga::codegen
