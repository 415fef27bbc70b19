// renga run --recompile with the real NVRTC and a stand-in for the driver: a plan gets code for a
// GPU that it was not compiled for, and its file stays as it is.
#include <nlohmann/json.hpp>

#include "codegen/lower/recompile.h"
#include "gmock/gmock.h"
#include "ir/base/digest.h"
#include "ir/base/mapped_file.h"
#include "tests/cuda/fake/fake_gpu.h"
#include "tools/nvrtc.h"

namespace renga {
namespace {

using testing::HasSubstr;

class Recompile : public testing::Test {
 protected:
  void SetUp() override {
    if (const auto nvrtc = LoadNvrtc(); !nvrtc.ok()) {
      GTEST_SKIP() << "NVRTC ABSENT: " << nvrtc.status().message();
    }
  }

  // Few tokens a step, so that there are few kernels.
  static CompileOptions Small() {
    CompileOptions options;
    options.max_step_tokens = 4;
    options.context = 64;
    return options;
  }

  ProcessResult Run(const std::string& plan, const char* sm, bool recompile) const {
    std::vector<std::string> args = {"run", plan, "--device", "cuda", "--ids", "1,403",
                                     "-n",  "2",  "--temp",   "0",    "--json"};
    if (recompile) args.push_back("--recompile");
    ProcessOptions options = OnFake({{"FAKE_SM", sm}});
    options.cache = folder_.File("cache");
    return Renga(args, options);
  }

  const TempFolder folder_;
};

TEST_F(Recompile, GivesAPlanCodeForThisGpuAndLeavesItsFile) {
  const plan::Plan plan = FakePlan("sm_90a", Small());
  const std::string path = WritePlan(folder_.File("x.plan"), plan);
  const Digest before = DigestOf(MappedFile::Open(path)->bytes());
  const ProcessResult without = Run(path, "86", false);
  EXPECT_TRUE(without.IsCleanError(2)) << without.Describe();
  EXPECT_THAT(without.err, HasSubstr("--recompile"));
  const ProcessResult first = Run(path, "86", true);
  ASSERT_EQ(first.exit_code, 0) << first.Describe();
  EXPECT_EQ(nlohmann::json::parse(first.out)["kernels_compiled"], plan.gpu.kernels.size());
  const ProcessResult second = Run(path, "86", true);
  ASSERT_EQ(second.exit_code, 0) << second.Describe();
  EXPECT_EQ(nlohmann::json::parse(second.out)["kernels_compiled"], 0) << "they are cached";
  EXPECT_EQ(DigestOf(MappedFile::Open(path)->bytes()), before);
}

TEST_F(Recompile, NewImagesAndNothingElse) {
  const auto nvrtc = LoadNvrtc();
  ASSERT_TRUE(nvrtc.ok());
  plan::Plan plan = FakePlan("sm_90a", Small());
  const plan::Plan before = plan;
  const auto target = codegen::FindGpuTarget("sm_80");
  ASSERT_TRUE(target.ok());
  const auto built = codegen::RecompilePlan(**nvrtc, {}, **target, &plan);
  ASSERT_TRUE(built.ok()) << built.status();
  EXPECT_EQ(plan.target, "sm_80");
  ASSERT_EQ(plan.gpu.targets.size(), 1u);
  EXPECT_FALSE(plan.gpu.targets[0].only_this);
  for (const plan::GpuKernel& kernel : plan.gpu.kernels) {
    ASSERT_EQ(kernel.images.size(), 1u);
    EXPECT_GT(kernel.images[0].cubin.size(), 500u);
    EXPECT_THAT(kernel.images[0].ptx, HasSubstr(".target sm_80"));
  }
  EXPECT_EQ(plan.steps, before.steps);
  EXPECT_EQ(plan.weights, before.weights);
}

}  // namespace
}  // namespace renga
