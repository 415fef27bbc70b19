// Models compiled for GPUs by the real NVRTC: every kernel of every tiny model compiles, without
// spills, for the oldest and the newest kind of GPU. Skipped loudly without NVRTC; no GPU is
// needed.
#include <cstdlib>

#include <filesystem>
#include <optional>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/strings.h"
#include "runtime/plan/launch.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_record.h"
#include "tests/tools/process.h"
#include "tools/compiler.h"
#include "tools/nvrtc.h"

namespace renga {
namespace {

using testing::AllOf;
using testing::HasSubstr;

const std::string kStories = RENGA_SOURCE_DIR "/tests/data/stories260K.gguf";

class GpuCompile : public testing::Test {
 protected:
  void SetUp() override {
    if (const char* before = std::getenv("XDG_CACHE_HOME"); before != nullptr) before_ = before;
    if (const auto nvrtc = LoadNvrtc(); !nvrtc.ok()) {
      GTEST_SKIP() << "NVRTC ABSENT: " << nvrtc.status().message();
    }
    setenv("XDG_CACHE_HOME", cache_.path().c_str(), 1);
  }
  // Others of the program look there for real models.
  void TearDown() override {
    if (before_) {
      setenv("XDG_CACHE_HOME", before_->c_str(), 1);
    } else {
      unsetenv("XDG_CACHE_HOME");
    }
  }

  absl::StatusOr<Compilation> Run(const std::string& gguf, const std::string& target,
                                  std::optional<std::vector<std::string>> passes = {}) {
    CompileOptions options;
    options.target = target;
    options.only_passes = std::move(passes);
    return Compile(gguf, options);
  }

  TempFolder cache_;
  std::optional<std::string> before_;  // the variable's value
};

TEST_F(GpuCompile, EveryTargetAndThenFromTheCache) {
  const std::string all = "sm_80,sm_86,sm_89,sm_90a,sm_100a,sm_120a";
  const auto first = Run(kStories, all);
  ASSERT_TRUE(first.ok()) << first.status();
  const auto kernels = static_cast<int64_t>(first->plan.gpu.kernels.size());
  EXPECT_EQ(first->kernels.compiled, 6 * kernels);
  EXPECT_EQ(first->kernels.cached, 0);
  for (const plan::GpuKernel& kernel : first->plan.gpu.kernels) {
    ASSERT_EQ(kernel.images.size(), 6u);
    for (const plan::GpuImage& image : kernel.images) {
      EXPECT_EQ(image.stack_bytes, 0) << kernel.name;
      EXPECT_GE(image.blocks_per_sm, 1) << kernel.name;
      // Only code that a newer GPU can use is kept as PTX.
      EXPECT_EQ(image.ptx.empty(), first->plan.gpu.targets[image.target].only_this);
    }
  }
  const auto second = Run(kStories, all);
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(second->kernels.compiled, 0);
  EXPECT_EQ(second->kernels.cached, 6 * kernels);
  EXPECT_EQ(second->plan.gpu, first->plan.gpu);
}

// A model for each way in which weights are decoded; every type's own kernel is in
// kernels_nvrtc_test, and that every model lowers in gpu_lower_test.
TEST_F(GpuCompile, TinyModels) {
  for (const std::string name : {"llama-Q4_K_M", "qwen2-Q5_0", "qwen2-MXFP4", "llama-moe"}) {
    const auto compiled = Run(TinyRecord::Read(name).path, "sm_90a");
    ASSERT_TRUE(compiled.ok()) << name << ": " << compiled.status();
  }
}

// The kernels that fusions take away.
TEST_F(GpuCompile, WithoutFusions) {
  for (const std::string model : {"llama-moe", "qwen2"}) {
    const auto compiled = Run(TinyRecord::Read(model).path, "sm_80", std::vector<std::string>());
    ASSERT_TRUE(compiled.ok()) << model << ": " << compiled.status();
  }
}

// The command line on a machine without a GPU.
TEST_F(GpuCompile, ShowsWhatItMadeAndWhereItRuns) {
  const ProcessOptions options = {.cache = cache_.path()};
  const std::string plan = cache_.File("m.plan"), stages = cache_.File("stages");
  const ProcessResult compiled = Renga(
      {"compile", StoryModel(), "--target", "sm_90a", "-o", plan, "--dump-dir", stages}, options);
  ASSERT_EQ(compiled.exit_code, 0) << compiled.Describe();
  EXPECT_THAT(compiled.out, AllOf(HasSubstr(" kernels for sm_90a: "), HasSubstr(", no spills\n"),
                                  HasSubstr(" on the device\n")));

  const ProcessResult kernels = Renga({"dump", plan, "--stage", "kernels", "--json"}, options);
  ASSERT_EQ(kernels.exit_code, 0) << kernels.Describe();
  const nlohmann::json json = nlohmann::json::parse(kernels.out);
  ASSERT_FALSE(json["kernels"].empty());
  for (const nlohmann::json& kernel : json["kernels"]) {
    EXPECT_EQ(kernel["target"], "sm_90a");
    EXPECT_EQ(kernel["spills"], 0);
    EXPECT_GT(kernel["registers"], 8);
    EXPECT_GE(kernel["shared_bytes"], 0);
    EXPECT_GT(kernel["source_lines"], 5);
    const std::string file = StrCat(stages, "/", kernel["name"].get<std::string>());
    EXPECT_TRUE(std::filesystem::exists(file + ".cu")) << file;
    EXPECT_TRUE(std::filesystem::exists(file + ".sm_90a.log")) << file;
  }
  const ProcessResult source =
      Renga({"dump", plan, "--stage", "source", "--node", "3.act"}, options);
  EXPECT_THAT(source.out, AllOf(HasSubstr("// %3.act\n// sm_90a: "), HasSubstr("struct Config {"),
                                HasSubstr("GateUp<Config>(args);")));

  const ProcessResult run = Renga({"run", plan, "-p", "hi"}, options);
  EXPECT_EQ(run.exit_code, 3) << run.Describe();
  EXPECT_THAT(run.err, AllOf(HasSubstr("compiled for sm_90a"), HasSubstr("--target cpu"),
                             HasSubstr("--device reference")));
  const ProcessResult reference = Renga(
      {"run", plan, "-p", "Once", "-n", "2", "--temp", "0", "--device", "reference"}, options);
  EXPECT_EQ(reference.exit_code, 0) << reference.Describe();
}

}  // namespace
}  // namespace renga
