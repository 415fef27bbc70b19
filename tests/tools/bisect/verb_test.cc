// bisect, verify --repro and run --check as users type them.
#include <filesystem>
#include <nlohmann/json.hpp>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/status.h"
#include "runtime/plan/serialize.h"
#include "tests/tools/process.h"
#include "tools/compiler.h"

namespace renga {
namespace {

using nlohmann::json;
using testing::HasSubstr;

class BisectVerbTest : public testing::Test {
 protected:
  // The story model with RoPE of a step turned the wrong way round, which its graph does not ask
  // for.
  std::string WrongPlan() {
    CompileOptions options;
    options.threads = 1;
    auto compiled = Compile(StoryModel(), options);
    EXPECT_TRUE(compiled.ok()) << compiled.status();
    for (plan::Step& step : compiled->plan.steps) {
      for (plan::Attr& attr : step.attrs) {
        if (step.name == "2.q" && attr.name == "pairing") attr.value = std::string("neox");
      }
    }
    const auto bytes = plan::Serialize(compiled->plan);
    EXPECT_TRUE(bytes.ok()) << bytes.status();
    return folder_.Write("wrong.plan", *bytes);
  }

  TempFolder folder_;
};

TEST_F(BisectVerbTest, AWrongStepOfAPlan) {
  const std::string out = folder_.File("out");
  const ProcessResult result = Renga({"bisect", WrongPlan(), "-p", "Once upon a time", "--kl",
                                      "1e-4", "-t", "1", "-o", out, "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.Describe();
  const json report = json::parse(result.out);
  EXPECT_EQ(report["culprit"], json::array({"2.q"}));
  ASSERT_EQ(report["culprits"][0]["nodes"].size(), 1u) << report;
  const json node = report["culprits"][0]["nodes"][0];
  EXPECT_EQ(node["at_fault"], "kernel");
  EXPECT_EQ(node["repro"], out + "/repro");
  EXPECT_TRUE(std::filesystem::exists(out + "/repro/repro.cc"));
  EXPECT_LE(report["runs"].size(), 9u);
  const ProcessResult again = Renga(
      {"bisect", WrongPlan(), "-p", "Once upon a time", "--kl", "1e-4", "-t", "1", "-o", out});
  ASSERT_EQ(again.exit_code, 0) << again.Describe();
  EXPECT_THAT(again.out, HasSubstr("culprit  2.q\n"));
  EXPECT_THAT(again.out, HasSubstr("node 2.q (qkv_rope): the kernel is at fault"));
  EXPECT_THAT(again.out, HasSubstr("known before; log " + out + "/log.tsv"));
}

TEST_F(BisectVerbTest, TypesOfCaches) {
  const ProcessResult result = Renga({"bisect", StoryModel(), "--good", "--kv-type 'k=f32,v=f32'",
                                      "--bad", "--kv-type k=f32,v=bf16", "-p", "Once upon a time",
                                      "--kl", "1e-12", "-t", "1", "-o", folder_.File("out")});
  ASSERT_EQ(result.exit_code, 0) << result.Describe();
  EXPECT_THAT(result.out, HasSubstr("1 differences, by mean KL above 1e-12"));
  EXPECT_THAT(result.out, HasSubstr("culprit  v_type: f32 -> bf16\n"));
}

TEST_F(BisectVerbTest, WhatCannotBeAsked) {
  const std::string out = folder_.File("out");
  const auto fails = [&](std::vector<std::string> args, const std::string& message) {
    args.insert(args.begin(), {"bisect", StoryModel(), "-o", out, "-t", "1"});
    const ProcessResult result = Renga(args);
    EXPECT_EQ(result.exit_code, 2) << result.Describe();
    EXPECT_THAT(result.err, HasSubstr(message));
  };
  fails({"--good", "--passes ''", "-n", "2"}, "got the same of the good and the bad");
  fails({"--good", "--no-such"}, "--good: expected flags of renga compile");
  fails({"--good", "--disable-pass fuse-norm:9.x"}, "expected a node that the pass rewrites");
  fails({"--bad", "--device reference"}, "expected --device cpu or cuda");
  fails({"--bad", "--device reference", "--good", "--passes ''"}, "expected --device cpu or cuda");
  fails({"-n", "0"}, "expected 1 or more");
}

TEST_F(BisectVerbTest, AStepOfAPlanForGpus) {
  const std::string out = folder_.File("out");
  const ProcessResult result = Renga(
      {"bisect", StoryModel(), "--node", "0.mix", "--target", "sm_90a", "-t", "1", "-o", out});
  ASSERT_EQ(result.exit_code, 0) << result.Describe();
  EXPECT_EQ(result.out, "node 0.mix: " + out + "/repro\n");
  EXPECT_TRUE(std::filesystem::exists(out + "/repro/repro.cu"));
  EXPECT_EQ(Renga({"bisect", StoryModel(), "--node", "no.such", "-o", out}).exit_code, 2);
}

TEST_F(BisectVerbTest, VerifyKeepsWhatIsBad) {
  const std::string out = folder_.File("kept");
  const ProcessResult result = Renga({"verify", WrongPlan(), "-p", "Once upon a time", "--quick",
                                      "--repro", out, "--device", "cpu", "-t", "1"});
  EXPECT_EQ(result.exit_code, 1) << result.Describe();
  EXPECT_THAT(result.err, HasSubstr("node 2.q (qkv_rope): the kernel is at fault"));
  EXPECT_TRUE(std::filesystem::exists(out + "/repro.cc"));
}

TEST_F(BisectVerbTest, RunLooksAtEveryValue) {
  const std::vector<std::string> args = {"run", StoryModel(), "-p",       "Once upon a time",
                                         "-n",  "3",          "--temp",   "0",
                                         "-t",  "1",          "--device", "cpu"};
  std::vector<std::string> checked = args;
  checked.push_back("--check");
  const ProcessResult plain = Renga(args), result = Renga(checked);
  EXPECT_EQ(result.exit_code, 0) << result.Describe();
  EXPECT_EQ(result.out, plain.out);
}

}  // namespace
}  // namespace renga
