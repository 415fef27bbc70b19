#include "runtime/device/cuda/plan_code.h"

#include <algorithm>

#include "ir/base/status.h"
#include "runtime/plan/launch.h"

namespace renga::cuda {
namespace {

// Shared memory of a block beyond which a kernel has to ask (CUDA C++ Programming Guide, "Compute
// Capabilities").
constexpr int64_t kSharedWithoutAsking = 48 << 10;

// Whether the driver takes the target's cubins for a GPU `sm`, or has to compile its PTX.
enum class Fit { kNone, kPtx, kOlder, kSame };

// Code for 8.0 runs on 8.6 and 8.9 (CUDA C++ Programming Guide, "Binary Compatibility"), unless it
// uses what only one GPU has; PTX can be compiled for any newer GPU.
Fit FitOf(const plan::GpuTarget& target, int sm) {
  if (target.sm == sm) return Fit::kSame;
  if (target.only_this || target.sm > sm) return Fit::kNone;
  return target.sm / 10 == sm / 10 ? Fit::kOlder : Fit::kPtx;
}

const plan::GpuImage* ImageOf(const plan::GpuKernel& kernel, int target) {
  const auto found = std::find_if(kernel.images.begin(), kernel.images.end(),
                                  [&](const plan::GpuImage& i) { return i.target == target; });
  return found == kernel.images.end() ? nullptr : &*found;
}

// What the driver is given of a kernel: empty where the plan has no such thing.
std::string_view CodeOf(const plan::GpuKernel& kernel, int target, bool from_ptx) {
  const plan::GpuImage* image = ImageOf(kernel, target);
  if (image == nullptr) return {};
  return from_ptx ? image->ptx : image->cubin;
}

bool IsFromPtx(const plan::Plan& plan, int target, int sm) {
  return FitOf(plan.gpu.targets[target], sm) == Fit::kPtx;
}

absl::Status NoCode(const plan::Plan& plan, const GpuFacts& gpu, const std::string& plan_path) {
  const std::string name = plan_path.empty() ? "the plan" : plan_path;
  if (plan.gpu.targets.empty()) {
    return absl::FailedPreconditionError(
        StrCat(name, ": compiled for ", plan.target, ", which is no GPU; run it without --device"));
  }
  const std::string gguf = plan.files.empty() ? "MODEL.gguf" : plan.files[0].path;
  const int sm = gpu.sm;
  const std::string target = StrCat("sm_", sm, sm >= 90 ? "a" : "");
  return absl::FailedPreconditionError(StrCat(
      name, ": compiled for ", plan.target, ", this GPU is ", gpu.name, " (", target,
      ")\n  run  renga compile ", gguf, " --target ", target, " -o ",
      plan_path.empty() ? "X.plan" : plan_path, "\n  or   renga run ",
      plan_path.empty() ? "X.plan" : plan_path, " --recompile   (its kernels are compiled here)"));
}

}  // namespace

int TargetFor(const plan::Plan& plan, int sm) {
  int best = -1;
  for (size_t i = 0; i < plan.gpu.targets.size(); ++i) {
    const plan::GpuTarget& target = plan.gpu.targets[i];
    const Fit fit = FitOf(target, sm);
    if (fit == Fit::kNone) continue;
    const bool better =
        best < 0 || fit > FitOf(plan.gpu.targets[best], sm) ||
        (fit == FitOf(plan.gpu.targets[best], sm) && target.sm > plan.gpu.targets[best].sm);
    if (better) best = static_cast<int>(i);
  }
  return best;
}

bool HasCodeFor(const plan::Plan& plan, int sm) {
  const int target = TargetFor(plan, sm);
  if (target < 0) return false;
  const bool from_ptx = IsFromPtx(plan, target, sm);
  return std::all_of(
      plan.gpu.kernels.begin(), plan.gpu.kernels.end(),
      [&](const plan::GpuKernel& kernel) { return !CodeOf(kernel, target, from_ptx).empty(); });
}

absl::StatusOr<PlanCode> PlanCode::Load(ContextRef context, const plan::Plan& plan,
                                        const std::string& plan_path) {
  const GpuFacts& gpu = context->gpu();
  const int target = TargetFor(plan, gpu.sm);
  if (target < 0) return NoCode(plan, gpu, plan_path);
  const bool from_ptx = IsFromPtx(plan, target, gpu.sm);
  const std::vector<int64_t> dynamic_shared = plan::MaxDynamicShared(plan);
  PlanCode code;
  code.target_ = plan.gpu.targets[target].name;
  for (size_t i = 0; i < plan.gpu.kernels.size(); ++i) {
    const plan::GpuKernel& kernel = plan.gpu.kernels[i];
    const std::string_view text = CodeOf(kernel, target, from_ptx);
    if (text.empty()) {
      return absl::FailedPreconditionError(StrCat(
          "kernel ", kernel.name, ": expected ", from_ptx ? "PTX" : "code", " for ", code.target_,
          ", the plan has its source alone; compile it again, or run it with --recompile"));
    }
    RENGA_ASSIGN_OR_RETURN(Module module, Module::Load(context, text));
    RENGA_ASSIGN_OR_RETURN(const Function function, module.Find(kernel.name));
    if (ImageOf(kernel, target)->static_shared + dynamic_shared[i] > kSharedWithoutAsking) {
      RENGA_RETURN_IF_ERROR(module.AllowShared(function, dynamic_shared[i]));
    }
    code.modules_.push_back(std::move(module));
    code.functions_.push_back(function);
    code.compiled_ += from_ptx ? 1 : 0;
  }
  return code;
}

}  // namespace renga::cuda
