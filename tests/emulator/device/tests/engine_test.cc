// Many sequences at once on the emulated GPU, which runs ahead of the engine: each writes what it
// writes alone, forks too.
#include "runtime/exec/engine.h"

#include <fstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/emulator/device/emulator_runner.h"
#include "tests/emulator/device/tests/support.h"
#include "tests/support/late_runner.h"
#include "tests/support/pass_subsets.h"

namespace renga::emulator {
namespace {

constexpr int64_t kTokens = 6;  // of each, generated

// Beginnings of the recorded prompts of the story model; some begin another.
std::vector<std::vector<int32_t>> Prompts() {
  std::ifstream in(RENGA_SOURCE_DIR "/tests/data/reference/stories260K.exact.jsonl");
  std::vector<std::vector<int32_t>> prompts;
  size_t length = 3;
  for (std::string line; std::getline(in, line);) {
    const nlohmann::json json = nlohmann::json::parse(line);
    const std::vector<int32_t> ids = json["prompt_ids"];
    for (int i = 0; i < 2; ++i, length += 5) {
      prompts.emplace_back(ids.begin(), ids.begin() + std::min(ids.size(), length));
    }
  }
  prompts.resize(8);
  return prompts;
}

// What the cpu device writes, one prompt after another.
std::vector<std::vector<int32_t>> OnCpu(const std::vector<std::vector<int32_t>>& prompts) {
  renga::CompileOptions options;
  options.context = 72;
  const auto plan = PlanFor(RENGA_SOURCE_DIR "/tests/data/stories260K.gguf", options);
  EXPECT_TRUE(plan.ok()) << plan.status();
  std::vector<std::vector<int32_t>> written;
  const auto forward = OpenOnHost("cpu", *plan, /*threads=*/1);
  for (const std::vector<int32_t>& prompt : prompts) {
    written.push_back(Greedy(**forward, prompt, kTokens).value());
  }
  return written;
}

class EngineOnEmulator : public testing::Test {
 protected:
  void SetUp() override {
    renga::CompileOptions options = GpuOptions(72);
    options.max_sequences = 8;
    const auto plan = PlanFor(RENGA_SOURCE_DIR "/tests/data/stories260K.gguf", options);
    ASSERT_TRUE(plan.ok()) << plan.status();
    plan_ = *plan;
    const plan::Plan* const plans[] = {plan_.get()};
    auto kernels = CompilePlans(plans, KernelOptions());
    ASSERT_TRUE(kernels.ok()) << kernels.status();
    device_.kernels.push_back(*std::move(kernels));
    auto tokenizer = Tokenizer::Create((*plan)->tokenizer);
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    tokenizer_ = *std::move(tokenizer);
    options_.sampling.temperature = 0;
    options_.max_tokens = kTokens;
    Open({});
  }

  // A new engine, with caches of its own.
  void Open(const EngineOptions& options) {
    auto runner = EmulatorRunner::Create(plan_, device_);
    ASSERT_TRUE(runner.ok()) << runner.status();
    auto engine = Engine::Create(
        std::make_unique<LateRunner>(*std::move(runner), /*seed=*/5, /*refuses=*/false),
        *tokenizer_, options);
    ASSERT_TRUE(engine.ok()) << engine.status();
    engine_ = *std::move(engine);
  }

  void RunAll() {
    for (bool more = true; more;) {
      const auto step = engine_->Step();
      ASSERT_TRUE(step.ok()) << step.status();
      more = *step;
    }
  }

  SharedPlan plan_;
  DeviceOptions device_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<Engine> engine_;
  GenerateOptions options_;
};

TEST_F(EngineOnEmulator, EightAtATimeWriteWhatEachWritesAlone) {
  const std::vector<std::vector<int32_t>> prompts = Prompts(), expected = OnCpu(prompts);
  for (const auto& prompt : prompts) ASSERT_TRUE(engine_->Add(prompt, options_).ok());
  RunAll();
  for (size_t i = 0; i < prompts.size(); ++i) {
    const auto result = engine_->Take(static_cast<RequestId>(i));
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->ids, expected[i]) << i;
  }
  EXPECT_GT(engine_->counters().steps_ahead, 0);
}

// The branches share a page that is not full, which each copies before it writes to it.
TEST_F(EngineOnEmulator, ForksCopyWhatTheyShare) {
  const std::vector<int32_t> prompt = Prompts()[3], greedy = OnCpu({prompt})[0];
  const RequestId trunk = engine_->Add(prompt, options_).value();
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(engine_->Step().value());
  GenerateOptions other = options_;
  other.sampling.logit_bias = {{greedy[2], -100.f}};
  ASSERT_EQ(engine_->Fork(trunk, 3, options_).value(), 1);
  ASSERT_EQ(engine_->Fork(trunk, 2, other).value(), 2);
  RunAll();
  EXPECT_EQ(engine_->Take(trunk)->ids, greedy);
  EXPECT_EQ(engine_->Take(1)->ids, greedy);
  const std::vector<int32_t> branch = engine_->Take(2)->ids;
  EXPECT_EQ(branch[1], greedy[1]);
  EXPECT_NE(branch[2], greedy[2]);
}

// All logits that are reported, which other kernels would change in their last digits.
std::vector<TopIds> TopOf(const GenerateResult& result) {
  std::vector<TopIds> top;
  for (const GeneratedToken& token : result.tokens) top.push_back(token.top);
  return top;
}

TEST_F(EngineOnEmulator, DeterministicLogitsAreThoseOfEachAloneToTheBit) {
  std::vector<std::vector<int32_t>> prompts = Prompts();
  prompts.resize(static_cast<size_t>(plan_->geometry.invariant_tokens) + 1);
  options_.top_logits = 20;
  options_.max_tokens = 3;
  std::vector<std::vector<TopIds>> alone;
  Open({.max_running = 1, .share_prefixes = false});
  for (const auto& prompt : prompts) {
    const RequestId id = engine_->Add(prompt, options_).value();
    RunAll();
    alone.push_back(TopOf(*engine_->Take(id)));
  }
  const int64_t steps_alone = engine_->counters().steps;
  for (const bool deterministic : {true, false}) {
    Open({.share_prefixes = false, .deterministic = deterministic});
    for (const auto& prompt : prompts) ASSERT_TRUE(engine_->Add(prompt, options_).ok());
    RunAll();
    size_t same = 0;
    for (size_t i = 0; i < prompts.size(); ++i) {
      same += TopOf(*engine_->Take(static_cast<RequestId>(i))) == alone[i];
    }
    if (deterministic) {
      EXPECT_EQ(same, prompts.size());
      EXPECT_LT(engine_->counters().steps, steps_alone);
    } else {
      EXPECT_LT(same, prompts.size()) << "then there was nothing to be seen";
    }
  }
}

}  // namespace
}  // namespace renga::emulator
