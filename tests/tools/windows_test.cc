// A model with windows through the whole of the compiler and the tools: with pages apart for
// windows it takes less memory and gives the same numbers, on the cpu and to the interpreter.
#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/exec/cpu_runner.h"
#include "runtime/exec/sequence_forward.h"
#include "runtime/plan/layout.h"
#include "runtime/plan/serialize.h"
#include "tests/support/windowed_pipeline.h"
#include "tests/tools/process.h"
#include "tools/file_weights.h"
#include "tools/reference_runner.h"
#include "tools/sequence_group.h"
#include "tools/step_devices.h"
#include "tools/verify_steps.h"

namespace renga {
namespace {

using testing::HasSubstr;

CompileOptions Options(int64_t context, int64_t sequences) {
  CompileOptions options;
  options.context = context;
  options.max_sequences = sequences;
  options.max_step_tokens = 16;
  options.page_tokens = 8;
  options.threads = 1;
  return options;
}

std::shared_ptr<const plan::Plan> PlanWith(const CompileOptions& options, bool apart) {
  std::vector<Pass> pipeline;
  auto compiled = Compile(StoryModel(), Windowed(options, apart, &pipeline));
  EXPECT_TRUE(compiled.ok()) << compiled.status();
  return std::make_shared<const plan::Plan>(std::move(compiled->plan));
}

// Logits of the last token of each step.
std::vector<float> LogitsOf(Forward& forward, const std::vector<int64_t>& steps) {
  std::vector<float> all;
  int64_t at = 0;
  for (const int64_t count : steps) {
    std::vector<int32_t> tokens;
    for (int64_t i = 0; i < count; ++i, ++at) {
      tokens.push_back(static_cast<int32_t>((at * at % 23 + at) % 500));
    }
    std::vector<float> logits;
    const absl::Status status = forward.Run(tokens, {static_cast<int32_t>(count - 1)}, &logits);
    EXPECT_TRUE(status.ok()) << status;
    all.insert(all.end(), logits.begin(), logits.end());
  }
  return all;
}

void ExpectSame(const std::vector<float>& a, const std::vector<float>& b) {
  ASSERT_EQ(a.size(), b.size());
  ASSERT_FALSE(a.empty());
  EXPECT_EQ(std::memcmp(a.data(), b.data(), a.size() * sizeof(float)), 0);
}

TEST(Windows, TheCpuGivesTheSameNumbersWithLessMemory) {
  // As fused as can be, and with no step fused.
  for (const bool fused : {true, false}) {
    CompileOptions options = Options(200, 1);
    if (!fused) options.disabled_passes = {"fuse-attention", "fuse-qkv-rope"};
    if (fused) options.v_type = DType::kF8_E4M3;
    const auto apart = PlanWith(options, true), together = PlanWith(options, false);
    EXPECT_THAT(apart->geometry.windows, testing::ElementsAre(7, 12));
    EXPECT_EQ(plan::CacheCells(*apart, 0), 200);
    EXPECT_EQ(plan::CacheCells(*apart, 1), 4 * 8);
    EXPECT_EQ(plan::CacheCells(*apart, 2), 5 * 8);
    // Of five layers two keep all.
    EXPECT_EQ(apart->memory.kv * 5 * 200, together->memory.kv * (2 * 200 + 2 * 32 + 40));
    SequenceForward a(CpuRunner::Create(apart, {}).value());
    SequenceForward b(CpuRunner::Create(together, {}).value());
    const std::vector<int64_t> steps = {16, 16, 1, 1, 9, 16, 16, 1, 16, 16, 16, 1, 1, 1, 16};
    ExpectSame(LogitsOf(a, steps), LogitsOf(b, steps));
  }
}

TEST(Windows, TheInterpreterGivesTheSameNumbers) {
  const CompileOptions options = Options(80, 1);
  std::vector<float> logits[2];
  for (const bool apart : {false, true}) {
    const auto plan = PlanWith(options, apart);
    WeightOptions weights;
    weights.packed = false;
    auto store = std::make_shared<WeightStore>(WeightStore::Open(*plan, weights).value());
    SequenceForward forward(OpenReference(plan, std::move(store), /*threads=*/1).value());
    logits[apart] = LogitsOf(forward, {16, 16, 1, 1, 16, 2, 16});
  }
  ExpectSame(logits[0], logits[1]);
}

TEST(Windows, EveryNodeIsRightInStepsOfAllKinds) {
  OpenedPlan opened;
  opened.plan = PlanWith(Options(96, 3), true);
  const auto recorder = OpenCpuSteps(opened, {});
  ASSERT_TRUE(recorder.ok()) << recorder.status();
  WeightOptions options;
  options.packed = false;
  const WeightStore store = WeightStore::Open(*opened.plan, options).value();
  VerifyStepsOptions verify{{1, 40, 77, 5, 9}, {}, false, {}};
  verify.nodes.threads = 1;
  const auto verdict = VerifySteps(**recorder, FileWeights(*opened.plan, store), verify);
  ASSERT_TRUE(verdict.ok()) << verdict.status();
  EXPECT_EQ(verdict->steps.size(), 3u);
  EXPECT_TRUE(verdict->not_run.empty());
  for (const BadValue& bad : verdict->nodes.bad) ADD_FAILURE() << bad.name << ": " << bad.likely;
  EXPECT_GT(verdict->nodes.values, 0);
}

TEST(Windows, SequencesSideBySideAreMeasuredAgainAndAgain) {
  const auto plan = PlanWith(Options(96, 3), true);
  EXPECT_TRUE(CheckGroupFits(*plan, 3, 96).ok());
  auto runner = CpuRunner::Create(plan, {}).value();
  SequenceGroup group = SequenceGroup::Create(*runner, 3).value();
  const std::vector<int32_t> ids(40, 5), one = {1, 2, 3};
  ASSERT_TRUE(group.ReadAlike(ids).ok());
  for (int i = 0; i < 3; ++i) {
    const absl::Status status = group.Decode(one, 50);
    ASSERT_TRUE(status.ok()) << status;
    ASSERT_TRUE(group.Truncate(40).ok()) << "windows have moved on";
    EXPECT_EQ(group.position(), 40);
  }
}

class WindowsPlan : public testing::Test {
 protected:
  std::string Write(const std::string& name, const plan::Plan& plan) {
    return folder_.Write(name, plan::Serialize(plan).value());
  }
  std::string Output(std::vector<std::string> args) {
    const ProcessResult result = Renga(args, {.cache = folder_.path()});
    EXPECT_EQ(result.exit_code, 0) << result.Describe();
    return result.out;
  }
  TempFolder folder_;
};

TEST_F(WindowsPlan, RunsFromAFileLikeAnyOther) {
  const auto apart = PlanWith(Options(128, 3), true), together = PlanWith(Options(128, 3), false);
  const std::string a = Write("a.plan", *apart), b = Write("b.plan", *together);
  const auto read = plan::LoadPlan(a);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_TRUE(*read == *apart);
  const std::string prompts = folder_.Write(
      "prompts.jsonl",
      "{\"prompt\": \"Once upon a time there was a little dog who had a friend and\"}\n"
      "{\"prompt\": \"Once upon a time there was a little dog who had a friend but\"}\n"
      "{\"prompt\": \"Lily\", \"n\": 90}\n{\"prompt\": \"She\", \"n\": 100}\n");
  const auto run = [&](const std::string& plan) {
    return Output({"run", plan, "-f", prompts, "--parallel", "3", "-n", "70", "--temp", "0",
                   "--device", "cpu"});
  };
  EXPECT_EQ(run(a), run(b));
  const std::string memory = Output({"dump", a, "--stage", "memory"});
  EXPECT_THAT(memory, HasSubstr("  layers 0, 4 "));
  EXPECT_THAT(memory, HasSubstr("  layers 1-2 "));
  EXPECT_THAT(memory, HasSubstr("each, f16 + f16; 96 cells, for a window of 7 keys\n"));
  EXPECT_THAT(memory, HasSubstr("f16 + f16; 120 cells, for a window of 12 keys\n"));
  EXPECT_THAT(Output({"dump", a, "--stage", "ledger"}),
              HasSubstr("a window of 7 keys and a step need 4 of 16 pages"));
  // Those that write to what they watch, and time.
  EXPECT_EQ(Output({"run", a, "-p", "Once", "-n", "60", "--temp", "0", "--check"}),
            Output({"run", b, "-p", "Once", "-n", "60", "--temp", "0"}));
  Output({"trace", a, "-p", "Once upon a time", "-o", folder_.File("t")});
  const ProcessResult times = Renga({"diff", a, b, "--time"}, {.cache = folder_.path()});
  EXPECT_EQ(times.exit_code, 1) << times.Describe();
  EXPECT_THAT(times.out, HasSubstr("memory.kv"));
  EXPECT_THAT(times.out, HasSubstr("time"));
}

}  // namespace
}  // namespace renga
