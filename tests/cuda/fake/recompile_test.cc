// Plans whose launches another GPU cannot take are not compiled for it, with the reason; what
// compiles is in tests/gpu_live.
#include "codegen/lower/recompile.h"

#include "gmock/gmock.h"
#include "runtime/device/cuda/plan_code.h"
#include "tests/cuda/fake/fake_gpu.h"

namespace renga {
namespace {

using testing::AllOf;
using testing::HasSubstr;

const codegen::GpuTarget& Target(std::string_view name) { return **codegen::FindGpuTarget(name); }

// Few kernels.
CompileOptions Small() {
  CompileOptions options;
  options.max_step_tokens = 4;
  return options;
}

ProcessResult RunWithFlag(const std::string& path, const char* sm,
                          std::vector<std::pair<std::string, std::string>> more = {}) {
  more.emplace_back("FAKE_SM", sm);
  return Renga({"run", path, "--device", "cuda", "--ids", "1", "-n", "1", "--recompile"},
               OnFake(std::move(more)));
}

TEST(RecompileRefuses, WgmmaWhereThereIsNone) {
  const plan::Plan plan = FakePlan("sm_90a", {}, WgmmaModel());
  EXPECT_TRUE(codegen::CheckLaunchesFit(plan, Target("sm_90a")).ok());
  for (const char* target : {"sm_80", "sm_100a", "sm_120a"}) {
    const absl::Status status = codegen::CheckLaunchesFit(plan, Target(target));
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << target;
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr(StrCat(target, " ")),
                      HasSubstr(StrCat("renga compile ", WgmmaModel(), " --target ", target))));
  }
  EXPECT_THAT(std::string(codegen::CheckLaunchesFit(plan, Target("sm_100a")).message()),
              HasSubstr("needs wgmma, which sm_100a does not have"));
  const TempFolder folder;
  const std::string path = WritePlan(folder.File("x.plan"), plan);
  const ProcessResult result = RunWithFlag(path, "100");
  EXPECT_TRUE(result.IsCleanError(2)) << result.Describe();
  EXPECT_THAT(result.err,
              AllOf(HasSubstr(path), HasSubstr("needs wgmma"), HasSubstr("--target sm_100a")));
}

TEST(RecompileRefuses, MoreSharedMemoryThanThereIs) {
  plan::Plan plan = FakePlan("sm_90a", Small());
  ASSERT_TRUE(codegen::CheckLaunchesFit(plan, Target("sm_86")).ok());
  plan.steps[0].variants[0].launches[0].dynamic_shared = plan::Constant(120000);
  const absl::Status status = codegen::CheckLaunchesFit(plan, Target("sm_86"));
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("expected at most 101376 bytes of shared memory a block, which sm_86 has, "
                        "got 120000"));
  EXPECT_TRUE(codegen::CheckLaunchesFit(plan, Target("sm_80")).ok());
}

TEST(RecompileRefuses, TensorMapsWhereThereAreNone) {
  plan::Plan plan = FakePlan("sm_90a", Small());
  ASSERT_TRUE(codegen::CheckLaunchesFit(plan, Target("sm_89")).ok());
  plan.steps[0].variants[0].launches[0].args[0].kind = plan::ArgKind::kTensorMap;
  EXPECT_THAT(std::string(codegen::CheckLaunchesFit(plan, Target("sm_89")).message()),
              HasSubstr("needs tensor maps, which sm_89 does not have"));
  EXPECT_TRUE(codegen::CheckLaunchesFit(plan, Target("sm_100a")).ok());
}

TEST(RecompileRefuses, WithoutNvrtc) {
  const TempFolder folder;
  const std::string path = WritePlan(folder.File("x.plan"), FakePlan("sm_90a", Small()));
  const ProcessResult result = RunWithFlag(path, "86", {{"RENGA_NVRTC", folder.path()}});
  EXPECT_TRUE(result.IsCleanError(3)) << result.Describe();
  EXPECT_THAT(result.err, HasSubstr("no usable libnvrtc in the folder of RENGA_NVRTC"));
}

// Where the plan has code the flag changes nothing, and NVRTC is not asked for.
TEST(RecompileIsNotNeeded, WhereThePlanHasCode) {
  const TempFolder folder;
  const std::string path = WritePlan(folder.File("x.plan"), FakePlan("sm_90a", Small()));
  const ProcessResult result = RunWithFlag(path, "90", {{"RENGA_NVRTC", folder.path()}});
  EXPECT_EQ(result.exit_code, 0) << result.Describe();
}

TEST(HasCodeFor, CodeOrPtxOfEveryKernel) {
  plan::Plan plan = FakePlan("sm_80", Small());
  EXPECT_TRUE(cuda::HasCodeFor(plan, 80));
  EXPECT_TRUE(cuda::HasCodeFor(plan, 89));
  EXPECT_TRUE(cuda::HasCodeFor(plan, 90));
  EXPECT_FALSE(cuda::HasCodeFor(plan, 75));
  plan.gpu.kernels[1].images[0].ptx.clear();
  EXPECT_TRUE(cuda::HasCodeFor(plan, 80));
  EXPECT_FALSE(cuda::HasCodeFor(plan, 90));
  plan.gpu.kernels[1].images.clear();
  EXPECT_FALSE(cuda::HasCodeFor(plan, 80));
  EXPECT_FALSE(cuda::HasCodeFor(FakePlan("sm_90a", Small()), 100));
}

}  // namespace
}  // namespace renga
