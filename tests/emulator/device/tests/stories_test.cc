// stories260K as a plan for a GPU, whole, on the emulator: the ids of the record, however the
// prompt is cut, whatever passes ran, whoever runs first.
#include <cstring>
#include <random>

#include "gmock/gmock.h"
#include "runtime/plan/layout.h"
#include "tests/emulator/device/step_reference.h"
#include "tests/emulator/device/tests/support.h"
#include "tests/support/pass_subsets.h"
#include "tests/support/real_model.h"

namespace renga::emulator {
namespace {

using testing::ElementsAreArray;
using testing::IsEmpty;

constexpr size_t kGreedy = 24;
constexpr int64_t kContext = 176;  // for the longest case and as many

std::string Stories() { return RENGA_SOURCE_DIR "/tests/data/stories260K.gguf"; }

const SharedPlan& StoriesPlan() {
  static const auto& plan = *new SharedPlan([] {
    auto compiled = PlanFor(Stories(), GpuOptions(kContext));
    EXPECT_TRUE(compiled.ok()) << compiled.status();
    return compiled.ok() ? *std::move(compiled) : nullptr;
  }());
  return plan;
}

std::unique_ptr<EmulatorForward> OpenStories(DeviceOptions options = {}) {
  if (StoriesPlan() == nullptr) return nullptr;
  auto forward = OpenOnEmulator(StoriesPlan(), std::move(options));
  EXPECT_TRUE(forward.ok()) << forward.status();
  return forward.ok() ? *std::move(forward) : nullptr;
}

struct Case {
  std::vector<int32_t> prompt, greedy;
};

std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (const nlohmann::json& record : ReadExactRecord("stories260K")) {
    cases.push_back({record["prompt_ids"].get<std::vector<int32_t>>(),
                     record["greedy_ids"].get<std::vector<int32_t>>()});
  }
  return cases;
}

// A prompt that takes every kind of step: the first case with much of what the model said as part
// of its prompt.
Case LongCase() {
  constexpr size_t kOfGreedy = 25;
  Case c = Cases()[0];
  c.prompt.insert(c.prompt.end(), c.greedy.begin(), c.greedy.begin() + kOfGreedy);
  c.greedy.erase(c.greedy.begin(), c.greedy.begin() + kOfGreedy);
  return c;
}

TEST(StoriesOnEmulator, WritesTheRecordedIds) {
  const auto forward = OpenStories();
  ASSERT_NE(forward, nullptr);
  const std::vector<Case> cases = Cases();
  ASSERT_GT(cases.size(), 1u);
  for (const Case& c : cases) {
    const auto ids = GenerateIds(*forward, c.prompt, kGreedy, 40);
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_THAT(*ids, ElementsAreArray(absl::MakeConstSpan(c.greedy).first(kGreedy)));
  }
}

TEST(StoriesOnEmulator, ChunksOfAnySizeGiveTheSameIdsAndTakeEveryVariant) {
  DeviceOptions options;
  options.placement = Placement::kArena;
  const auto forward = OpenStories(options);
  ASSERT_NE(forward, nullptr);
  const Case c = LongCase();
  for (const size_t chunk : {size_t{1}, size_t{7}, size_t{12}, size_t{40}}) {
    const auto ids = GenerateIds(*forward, c.prompt, 6, chunk);
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_THAT(*ids, ElementsAreArray(absl::MakeConstSpan(c.greedy).first(6))) << chunk;
  }
  EXPECT_THAT(NeverLaunched(forward->emulator()), IsEmpty());
}

TEST(StoriesOnEmulator, EveryStepIsCloseToTheReference) {
  const auto forward = OpenStories();
  ASSERT_NE(forward, nullptr);
  const auto reference = StepReference::Watch(*forward);
  ASSERT_TRUE(reference.ok()) << reference.status();
  const Case c = LongCase();
  for (const size_t chunk : {size_t{40}, size_t{5}}) {
    const auto ids = GenerateIds(*forward, c.prompt, 3, chunk);
    ASSERT_TRUE(ids.ok()) << ids.status();
  }
}

TEST(StoriesOnEmulator, NoScheduleChangesABit) {
  const Case c = LongCase();
  std::vector<float> first;
  using Kind = Schedule::Kind;
  for (const Schedule& schedule : {Schedule{Kind::kForward, 0}, Schedule{Kind::kReverse, 0},
                                   Schedule{Kind::kRandom, 3}, Schedule{Kind::kSkewed, 4}}) {
    DeviceOptions options;
    options.schedule = schedule;
    options.placement = Placement::kArena;
    const auto forward = OpenStories(options);
    ASSERT_NE(forward, nullptr);
    std::vector<float> all, logits;
    const auto run = [&](absl::Span<const int32_t> tokens) {
      const absl::Status status =
          forward->Run(tokens, {static_cast<int32_t>(tokens.size()) - 1}, &logits);
      ASSERT_TRUE(status.ok()) << status;
      all.insert(all.end(), logits.begin(), logits.end());
    };
    run(absl::MakeConstSpan(c.prompt).first(18));
    run(absl::MakeConstSpan(c.prompt).subspan(18, 1));
    if (HasFatalFailure()) return;
    if (first.empty()) first = all;
    ASSERT_EQ(first.size(), all.size());
    EXPECT_EQ(std::memcmp(first.data(), all.data(), all.size() * sizeof(float)), 0);
  }
}

TEST(StoriesOnEmulator, SubsetsOfThePassesGiveTheSameIds) {
  const Case c = LongCase();
  std::mt19937 random(6);
  std::vector<SharedPlan> plans;
  std::vector<const plan::Plan*> pointers;
  std::vector<PassSet> sets = {0};
  while (sets.size() < 5) sets.push_back(random() & AllPasses());
  for (const PassSet set : sets) {
    renga::CompileOptions options = GpuOptions(48);
    options.only_passes = NamesOf(set);
    auto plan = PlanFor(Stories(), options);
    ASSERT_TRUE(plan.ok()) << TextOf(set) << ": " << plan.status();
    pointers.push_back(plan->get());
    plans.push_back(*std::move(plan));
  }
  const auto kernels = CompilePlans(pointers, KernelOptions());
  ASSERT_TRUE(kernels.ok()) << kernels.status();
  for (size_t i = 0; i < plans.size(); ++i) {
    DeviceOptions options;
    options.kernels = {*kernels};
    const auto forward = OpenOnEmulator(plans[i], options);
    ASSERT_TRUE(forward.ok()) << TextOf(sets[i]) << ": " << forward.status();
    const auto ids = GenerateIds(**forward, c.prompt, 4, 17);
    ASSERT_TRUE(ids.ok()) << TextOf(sets[i]) << ": " << ids.status();
    EXPECT_THAT(*ids, ElementsAreArray(absl::MakeConstSpan(c.greedy).first(4))) << TextOf(sets[i]);
  }
}

// Cells come back, in other hands.
TEST(StoriesOnEmulator, ForgottenTokensLeaveNothing) {
  const auto forward = OpenStories();
  ASSERT_NE(forward, nullptr);
  const std::vector<Case> cases = Cases();
  const Case c = LongCase();
  std::vector<float> fresh, again;
  ASSERT_TRUE(forward->Run(c.prompt, {0}, &fresh).ok());
  ASSERT_TRUE(forward->Truncate(5).ok());
  ASSERT_TRUE(forward->Run(cases[0].prompt, {}, nullptr).ok());
  ASSERT_TRUE(forward->Truncate(0).ok());
  ASSERT_TRUE(forward->Run(c.prompt, {0}, &again).ok());
  EXPECT_EQ(fresh, again);
  EXPECT_FALSE(forward->Truncate(forward->position() + 1).ok());
}

TEST(StoriesOnEmulator, ErrorsLeaveTheSequenceAsItWas) {
  const auto forward = OpenStories();
  ASSERT_NE(forward, nullptr);
  std::vector<float> logits;
  ASSERT_TRUE(forward->Run({1, 2, 3}, {}, nullptr).ok());
  const absl::Status long_step = forward->Run(std::vector<int32_t>(41, 5), {0}, &logits);
  EXPECT_EQ(long_step.code(), absl::StatusCode::kInvalidArgument) << long_step;
  EXPECT_EQ(forward->position(), 3);
  const absl::Status full = forward->Run(std::vector<int32_t>(kContext, 5), {0}, &logits);
  EXPECT_EQ(full.code(), absl::StatusCode::kResourceExhausted) << full;
  EXPECT_EQ(forward->position(), 3);
  EXPECT_TRUE(forward->Run({4}, {0}, &logits).ok());
}

TEST(StoriesOnEmulator, APlanForTheCpuIsRefused) {
  renga::CompileOptions options = GpuOptions(48);
  options.target = "cpu";
  const auto plan = PlanFor(Stories(), options);
  ASSERT_TRUE(plan.ok()) << plan.status();
  const auto forward = OpenOnEmulator(*plan);
  EXPECT_THAT(std::string(forward.status().message()), testing::HasSubstr("--target sm_90a"));
}

// Tokens of two sequences of different lengths in one step: each sees its own.
void RunTwoSequences(renga::CompileOptions compile) {
  compile.max_sequences = 2;
  const auto plan = PlanFor(Stories(), compile);
  ASSERT_TRUE(plan.ok()) << plan.status();
  const std::vector<Case> cases = Cases();
  const std::vector<int32_t> prompts[] = {cases[0].prompt, LongCase().prompt};
  std::vector<float> alone[2];
  for (int s = 0; s < 2; ++s) {
    const auto forward = OpenOnEmulator(*plan);
    ASSERT_TRUE(forward.ok()) << forward.status();
    const absl::Status status =
        (*forward)->Run(prompts[s], {static_cast<int32_t>(prompts[s].size()) - 1}, &alone[s]);
    ASSERT_TRUE(status.ok()) << status;
  }
  // All of one and all but the last of the other in one step, then the last with a new token.
  DeviceOptions options;
  const plan::Plan* const plans[] = {plan->get()};
  auto kernels = CompilePlans(plans, KernelOptions());
  ASSERT_TRUE(kernels.ok()) << kernels.status();
  options.kernels = {*std::move(kernels)};
  const auto device = EmulatorDevice::Create(*plan, options);
  ASSERT_TRUE(device.ok()) << device.status();
  PageTables pages(**plan, 11);
  pages.NewSequence();
  pages.NewSequence();
  const auto run = [&](const std::vector<int32_t>(&tokens)[2]) {
    std::vector<int32_t> all, positions, sequences, cells, table, rows;
    for (int s = 0; s < 2; ++s) {
      for (size_t i = 0; i < tokens[s].size(); ++i) {
        all.push_back(tokens[s][i]);
        sequences.push_back(s);
        positions.push_back(static_cast<int32_t>(pages.position(s) + i));
      }
      rows.push_back(static_cast<int32_t>(all.size()) - 1);
      EXPECT_TRUE(pages.Append(s, tokens[s].size(), &cells).ok());
    }
    const size_t columns = std::max(pages.pages(0).size(), pages.pages(1).size());
    for (int s = 0; s < 2; ++s) {
      for (size_t p = 0; p < columns; ++p) {
        table.push_back(p < pages.pages(s).size() ? pages.pages(s)[p] : -1);
      }
    }
    StepInputs inputs{all, positions, sequences, cells, table, 2, rows};
    const absl::Status status = (*device)->Run(inputs);
    ASSERT_TRUE(status.ok()) << status;
  };
  const auto both = absl::MakeConstSpan(prompts[1]);
  run({prompts[0], {both.begin(), both.end() - 1}});
  if (testing::Test::HasFatalFailure()) return;
  std::vector<uint8_t> bytes;
  const int32_t logits = plan::OutputBuffer((*device)->plan(), "logits");
  ASSERT_TRUE((*device)->Read(logits, &bytes).ok());
  std::vector<float> got(bytes.size() / sizeof(float));
  std::memcpy(got.data(), bytes.data(), bytes.size());
  const size_t width = got.size() / 2;
  EXPECT_LT(RelativeError(absl::MakeConstSpan(got).first(width), alone[0]), 1e-3);
  run({{cases[0].greedy[0]}, {both.back()}});
  if (testing::Test::HasFatalFailure()) return;
  ASSERT_TRUE((*device)->Read(logits, &bytes).ok());
  std::memcpy(got.data(), bytes.data(), bytes.size());
  EXPECT_EQ(ArgMaxOf(absl::MakeConstSpan(got).first(width)), cases[0].greedy[1]);
  EXPECT_LT(RelativeError(absl::MakeConstSpan(got).subspan(width), alone[1]), 1e-3);
}

TEST(StoriesOnEmulator, TwoSequencesInOneStep) { RunTwoSequences(GpuOptions(48)); }

// The shorter one's last page has cells that were never written: attn_scores leaves them alone.
TEST(StoriesOnEmulator, TwoSequencesInOneStepWithAttentionInParts) {
  renga::CompileOptions options = GpuOptions(48);
  options.disabled_passes = {"fuse-attention"};
  RunTwoSequences(options);
}

}  // namespace
}  // namespace renga::emulator
