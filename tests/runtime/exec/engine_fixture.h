// What tests of the engine share: a model for six sequences, jobs by chance, and what each gives
// alone.
#pragma once

#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "runtime/exec/cpu_runner.h"
#include "runtime/exec/engine.h"
#include "runtime/exec/sequence_forward.h"
#include "tests/runtime/exec/small_model.h"

namespace renga {

inline std::string Replaced(std::string text, std::string_view from, std::string_view to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

// The small fused model for 6 sequences; its cache has 24 pages of 4 tokens, or `pages`.
inline std::string ForMany(int pages = 24) {
  std::string text = Replaced(std::string(kSmallFusedGraph), "dim S = 1..1", "dim S = 1..6");
  text = Replaced(text, "dim T = 1..5", "dim T = 1..9");
  text = Replaced(text, "dim R = 1..5", "dim R = 1..7");
  return Replaced(text, "dim C = 1..16", StrCat("dim C = 1..", pages * 4));
}

// Ten letters and the token that ends a text.
inline TokenizerData Letters() {
  TokenizerData data;
  data.model = "gpt2";
  data.pre = "gpt-2";
  data.text = "abcdefghij<end>";
  for (uint32_t i = 0; i <= 10; ++i) data.offsets.push_back(i);
  data.offsets.push_back(15);
  data.types.assign(11, TokenType::kNormal);
  data.types[10] = TokenType::kControl;
  data.eos = 10;
  data.end_of_generation = {10};
  return data;
}

struct Job {
  std::vector<int32_t> prompt;
  GenerateOptions options;
};

class EngineTest : public ::testing::Test {
 protected:
  explicit EngineTest(std::string_view model = ForMany()) : model_(model) {}

  virtual std::unique_ptr<StepRunner> NewRunner() {
    return CpuRunner::Create(model_.shared_plan(), {}).value();
  }

  std::unique_ptr<Engine> Open(const EngineOptions& options = {}) {
    auto engine = Engine::Create(NewRunner(), *tokenizer_, options);
    EXPECT_TRUE(engine.ok()) << engine.status();
    return *std::move(engine);
  }

  // One by one, each on an empty sequence.
  GenerateResult Alone(const Job& job) {
    if (alone_ == nullptr) {
      alone_ =
          std::make_unique<SequenceForward>(CpuRunner::Create(model_.shared_plan(), {}).value());
    }
    EXPECT_TRUE(alone_->Truncate(0).ok());
    auto result = Generate(*alone_, *tokenizer_, job.prompt, job.options);
    EXPECT_TRUE(result.ok()) << result.status();
    return *std::move(result);
  }

  std::vector<int32_t> RandomPrompt(int most) {
    std::vector<int32_t> prompt(std::uniform_int_distribution<size_t>(1, most)(random_));
    for (int32_t& id : prompt) id = std::uniform_int_distribution<int32_t>(0, 9)(random_);
    return prompt;
  }

  Job RandomJob() {
    Job job{RandomPrompt(9), {}};
    job.options.max_tokens = std::uniform_int_distribution<int>(0, 14)(random_);
    job.options.sampling.temperature = random_() % 3 == 0 ? 0.f : 1.f;
    job.options.sampling.seed = random_();
    job.options.sampling.penalties.repeat = random_() % 2 == 0 ? 1.f : 1.3f;
    job.options.ignore_eos = random_() % 2 == 0;
    job.options.top_logits = static_cast<int>(random_() % 3);
    job.options.prompt_top = random_() % 8 == 0;
    if (random_() % 4 == 0) job.options.stop = {"ab", "d"};
    return job;
  }

  static void RunAll(Engine& engine) {
    for (int steps = 0;; ++steps) {
      const auto more = engine.Step();
      ASSERT_TRUE(more.ok()) << more.status();
      const absl::Status pages = engine.pages().CheckInvariants();
      ASSERT_TRUE(pages.ok()) << pages;
      if (!*more) return;
      ASSERT_LT(steps, 100000) << "no end";
    }
  }

  static void ExpectSame(const GenerateResult& got, const GenerateResult& expected) {
    EXPECT_EQ(got.ids, expected.ids);
    EXPECT_EQ(got.text, expected.text);
    EXPECT_EQ(got.finish_reason, expected.finish_reason);
    EXPECT_EQ(got.prompt_top, expected.prompt_top);
    ASSERT_EQ(got.tokens.size(), expected.tokens.size());
    for (size_t i = 0; i < got.tokens.size(); ++i) {
      EXPECT_EQ(got.tokens[i].top, expected.tokens[i].top);
      EXPECT_EQ(got.tokens[i].logprob, expected.tokens[i].logprob);
    }
  }

  SmallModel model_;
  std::unique_ptr<Tokenizer> tokenizer_ = Tokenizer::Create(Letters()).value();
  std::unique_ptr<SequenceForward> alone_;
  std::mt19937 random_{11};
};

}  // namespace renga
