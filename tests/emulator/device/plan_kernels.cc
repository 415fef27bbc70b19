#include "tests/emulator/device/plan_kernels.h"

#include <set>
#include <utility>
#include <vector>

#include "ir/base/status.h"

namespace renga::emulator {

absl::StatusOr<std::shared_ptr<const KernelLibrary>> CompilePlans(
    absl::Span<const plan::Plan* const> plans, const CompileOptions& options) {
  std::vector<KernelSource> sources;
  std::set<std::string> names;
  for (const plan::Plan* plan : plans) {
    for (const plan::GpuKernel& kernel : plan->gpu.kernels) {
      if (!names.insert(kernel.name).second) continue;
      sources.push_back(
          {.name = StrCat(kernel.name, ".cu"), .text = kernel.source, .kernels = {kernel.name}});
    }
  }
  if (sources.empty()) {
    return absl::InvalidArgumentError(
        "plan: expected one for a GPU, got none with kernels; compile it with --target sm_90a");
  }
  RENGA_ASSIGN_OR_RETURN(std::unique_ptr<KernelLibrary> library,
                         KernelLibrary::Compile(options, sources));
  return std::shared_ptr<const KernelLibrary>(std::move(library));
}

}  // namespace renga::emulator
