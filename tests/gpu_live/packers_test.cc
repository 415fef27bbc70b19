// The kernels that pack weights, of every type, compile for every target without spills: a plan
// with one that spills would be refused. Skipped loudly without NVRTC; no GPU is needed.
#include <cstddef>
#include <vector>

#include "codegen/emit/cuda_pack.h"
#include "codegen/emit/kernel_shapes.h"
#include "codegen/nvrtc/build.h"
#include "gtest/gtest.h"
#include "ir/base/mma_layout.h"
#include "runtime/plan/pack_weight.h"
#include "tools/nvrtc.h"

namespace renga {
namespace {

TEST(Packers, OfEveryTypeCompileForEveryTargetWithoutSpills) {
  const auto nvrtc = LoadNvrtc();
  if (!nvrtc.ok()) GTEST_SKIP() << "NVRTC ABSENT: " << nvrtc.status().message();
  std::vector<codegen::KernelRequest> requests;
  for (const DTypeInfo& info : AllDTypes()) {
    if (!HasMmaLayout(info.type)) continue;
    const plan::GpuKernel kernel = codegen::PackGpuKernel(info.type);
    for (const codegen::GpuTarget& target : codegen::GpuTargets()) {
      requests.push_back({{.name = kernel.name,
                           .context = kernel.ir,
                           .text = kernel.source,
                           .threads = kernel.threads,
                           .dynamic_shared = codegen::PackShared(info.type)},
                          &target});
    }
  }
  ASSERT_EQ(requests.size(), 13 * codegen::GpuTargets().size());
  const auto build = codegen::BuildKernels(**nvrtc, requests, {});
  ASSERT_TRUE(build.ok()) << build.status();
  for (size_t i = 0; i < requests.size(); ++i) {
    const codegen::KernelResources& resources = build->kernels[i].report.resources;
    EXPECT_EQ(resources.stack_bytes, 0) << resources.name << " " << requests[i].target->name;
    EXPECT_EQ(resources.parameter_bytes, int64_t{sizeof(plan::PackWeightArgs)}) << resources.name;
  }
}

}  // namespace
}  // namespace renga
