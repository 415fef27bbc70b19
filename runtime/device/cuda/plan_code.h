// The kernels of a plan, loaded on one GPU.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/device/cuda/resources.h"
#include "runtime/plan/plan.h"

namespace renga::cuda {

class PlanCode {
 public:
  PlanCode() = default;
  // Of a valid plan with code: the target that fits the context's GPU best is loaded, with the
  // shared memory that its launches ask for. FailedPrecondition where no target fits, saying what
  // to compile; `plan_path` names the plan. The driver compiles a plan's PTX where it has no code
  // for a newer GPU; compiled() counts that.
  static absl::StatusOr<PlanCode> Load(ContextRef context, const plan::Plan& plan,
                                       const std::string& plan_path);

  // By index into Gpu::kernels.
  const Function& function(int32_t kernel) const { return functions_[kernel]; }
  const std::string& target() const { return target_; }
  // Kernels that came as PTX and were compiled by the driver.
  int64_t compiled() const { return compiled_; }

 private:
  std::vector<Module> modules_;
  std::vector<Function> functions_;
  std::string target_;
  int64_t compiled_ = 0;
};

// Index into plan.gpu.targets of the one whose code runs on a GPU of that compute capability (90:
// 9.0), best first: code for just that GPU, code for an older one of the same generation, PTX.
// -1: none.
int TargetFor(const plan::Plan& plan, int sm);

// Whether the plan can be loaded on such a GPU: every kernel has code, or PTX, for TargetFor.
bool HasCodeFor(const plan::Plan& plan, int sm);

}  // namespace renga::cuda
