// Sequences side by side: each is what it would be alone, in as few steps as the plan allows.
#include "tools/sequence_group.h"

#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/status.h"
#include "tests/support/late_runner.h"
#include "tests/tools/fake_step_runner.h"

namespace renga {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

TEST(SequenceGroup, PromptsFillSteps) {
  FakeStepRunner runner(LettersPlan(3));
  SequenceGroup group = SequenceGroup::Create(runner, 3).value();
  ASSERT_TRUE(group.Read({1, 2, 3, 4, 5, /**/ 6, 7, 8, 9, 0, /**/ 2, 2, 2, 2, 3}, true).ok());
  EXPECT_THAT(runner.calls, ElementsAre("0:1234", "4:5+ 0:678", "3:90+ 0:22", "2:223+"));
  EXPECT_EQ(group.position(), 5);
  EXPECT_THAT(group.choices(), ElementsAre(FakeStepRunner::Choice({1, 2, 3, 4, 5}),
                                           FakeStepRunner::Choice({6, 7, 8, 9, 0}),
                                           FakeStepRunner::Choice({2, 2, 2, 2, 3})));
}

TEST(SequenceGroup, AStepTakesATokenOfEach) {
  FakeStepRunner runner(LettersPlan(3));
  SequenceGroup group = SequenceGroup::Create(runner, 3).value();
  ASSERT_TRUE(group.Read({1, 2, 3}, false).ok());
  ASSERT_TRUE(group.Step({4, 5, 6}).ok());
  const std::vector<int32_t> choices = group.choices();
  EXPECT_THAT(choices, ElementsAre(FakeStepRunner::Choice({1, 4}), FakeStepRunner::Choice({2, 5}),
                                   FakeStepRunner::Choice({3, 6})));
  ASSERT_TRUE(group.Step(group.choices()).ok()) << "which change meanwhile";
  EXPECT_THAT(runner.calls, SizeIs(3));
  EXPECT_EQ(runner.calls[0], "0:1 0:2 0:3");
  EXPECT_EQ(runner.calls[1], "1:4+ 1:5+ 1:6+");
  EXPECT_EQ(group.choices()[2], FakeStepRunner::Choice({3, 6, choices[2]}));
  ASSERT_TRUE(group.Truncate(1).ok());
  ASSERT_TRUE(group.Step({7, 8, 9}).ok());
  EXPECT_EQ(group.choices()[1], FakeStepRunner::Choice({2, 8}));
}

TEST(SequenceGroup, DecodesAsManyStepsAsAskedFor) {
  for (const bool ahead : {false, true}) {
    auto fake = std::make_unique<FakeStepRunner>(LettersPlan(3));
    const std::vector<std::string>& calls = fake->calls;
    std::unique_ptr<StepRunner> runner = std::move(fake);
    if (ahead) runner = std::make_unique<LateRunner>(std::move(runner), 3);
    SequenceGroup group = SequenceGroup::Create(*runner, 3).value();
    ASSERT_TRUE(group.Read({1, 2, 3}, false).ok());
    std::vector<std::vector<int32_t>> texts = {{1, 4}, {2, 5}, {3, 6}};
    const absl::Status status = group.Decode({4, 5, 6}, 7);
    ASSERT_TRUE(status.ok()) << status;
    for (std::vector<int32_t>& text : texts) {
      while (text.size() < 9) text.push_back(FakeStepRunner::Choice(text));
    }
    EXPECT_THAT(group.choices(), ElementsAre(texts[0][8], texts[1][8], texts[2][8]));
    EXPECT_EQ(group.position(), 8);
    EXPECT_THAT(calls, SizeIs(8));
    if (ahead) {
      EXPECT_EQ(static_cast<LateRunner&>(*runner).started_ahead, 6);
    }
    // And goes on as usual.
    ASSERT_TRUE(group.Step(group.choices()).ok());
    EXPECT_EQ(group.choices()[1], FakeStepRunner::Choice(texts[1]));
    ASSERT_TRUE(group.Decode({}, 0).ok());
  }
}

// Chooses the random number that it is asked with, in tenths.
class SamplingRunner : public FakeStepRunner {
 public:
  using FakeStepRunner::FakeStepRunner;
  absl::Status Run(const StepInputs& inputs) override {
    RENGA_RETURN_IF_ERROR(FakeStepRunner::Run(inputs));
    chosen_.assign(FakeStepRunner::next().begin(), FakeStepRunner::next().end());
    for (const RowSampling& asked : inputs.sampling) {
      EXPECT_EQ(asked.draw.top_k, 3);
      chosen_[static_cast<size_t>(asked.row)] = static_cast<int32_t>(asked.draw.uniform * 10);
    }
    return absl::OkStatus();
  }
  absl::Span<const int32_t> next() const override { return chosen_; }
  bool samples() const override { return true; }

 private:
  std::vector<int32_t> chosen_;
};

TEST(SequenceGroup, TheDeviceSamplesEachSequenceWithASeedOfItsOwn) {
  const SamplingParams params{.top_k = 3, .seed = 5};
  std::vector<std::vector<int32_t>> expected(3);
  for (uint64_t member = 0; member < 3; ++member) {
    SamplingParams own = params;
    own.seed += member;
    Sampler sampler = Sampler::Create(own, 10).value();
    for (int i = 0; i < 6; ++i, sampler.Skip()) {
      expected[member].push_back(static_cast<int32_t>(sampler.Next().uniform * 10));
    }
  }
  const auto last = [&](size_t step) {
    return std::vector<int32_t>{expected[0][step], expected[1][step], expected[2][step]};
  };
  for (const bool ahead : {false, true}) {
    std::unique_ptr<StepRunner> runner = std::make_unique<SamplingRunner>(LettersPlan(3));
    if (ahead) runner = std::make_unique<LateRunner>(std::move(runner), 3);
    SequenceGroup group = SequenceGroup::Create(*runner, 3).value();
    ASSERT_TRUE(group.Sample(params).ok());
    ASSERT_TRUE(group.Decode({4, 5, 6}, 5).ok());
    EXPECT_EQ(group.choices(), last(4));
    ASSERT_TRUE(group.Step(group.choices()).ok());
    EXPECT_EQ(group.choices(), last(5));
    ASSERT_TRUE(group.Truncate(0).ok());
    ASSERT_TRUE(group.Step({4, 5, 6}).ok());
    EXPECT_EQ(group.choices(), last(0)) << "from the beginning again";
    EXPECT_FALSE(group.Sample({.min_p = 2}).ok());
  }
}

TEST(SequenceGroup, TheHostSamplesWhatTheDeviceDoesNot) {
  FakeStepRunner runner(LettersPlan(2));
  runner.largest = 2;
  SequenceGroup group = SequenceGroup::Create(runner, 2).value();
  const SamplingParams params{.temperature = 5, .top_p = 1, .min_p = 0, .seed = 8};
  ASSERT_TRUE(group.Sample(params).ok());
  Sampler second =
      Sampler::Create({.temperature = 5, .top_p = 1, .min_p = 0, .seed = 9}, 10).value();
  std::vector<int32_t> ids = {4, 5};
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(group.Step(ids).ok());
    std::vector<float> logits;
    ASSERT_TRUE(runner.Logits(&logits).ok());
    const auto expected = second.Sample(absl::MakeConstSpan(logits).subspan(10));
    ASSERT_TRUE(expected.ok());
    EXPECT_EQ(group.choices()[1], *expected) << i;
    ids = group.choices();
  }
}

TEST(SequenceGroup, WhatIsAlikeIsComputedOnceAndLiesInMemoryOfEach) {
  FakeStepRunner runner(LettersPlan(3));
  SequenceGroup group = SequenceGroup::Create(runner, 3).value();
  ASSERT_TRUE(group.ReadAlike({1, 2, 3, 4, 5, 6}).ok());
  EXPECT_THAT(runner.calls, ElementsAre("0:1234", "4:56"));
  EXPECT_EQ(runner.copied_pages, 2 * 2u);
  EXPECT_EQ(runner.memory.size(), 3 * 8u) << "cells written: two pages a sequence, as copied";
  EXPECT_EQ(group.position(), 6);
  // Each writes to its own last page.
  ASSERT_TRUE(group.Step({7, 8, 9}).ok());
  EXPECT_THAT(group.choices(), ElementsAre(FakeStepRunner::Choice({1, 2, 3, 4, 5, 6, 7}),
                                           FakeStepRunner::Choice({1, 2, 3, 4, 5, 6, 8}),
                                           FakeStepRunner::Choice({1, 2, 3, 4, 5, 6, 9})));
  ASSERT_TRUE(group.Step({1, 1, 1}).ok());
  EXPECT_THAT(group.choices(), ElementsAre(FakeStepRunner::Choice({1, 2, 3, 4, 5, 6, 7, 1}),
                                           FakeStepRunner::Choice({1, 2, 3, 4, 5, 6, 8, 1}),
                                           FakeStepRunner::Choice({1, 2, 3, 4, 5, 6, 9, 1})));
}

TEST(SequenceGroup, WithoutAChoiceOfTheModelTheLargestLogitIsTaken) {
  FakeStepRunner runner(LettersPlan(2));
  runner.chooses = false;
  SequenceGroup group = SequenceGroup::Create(runner, 2).value();
  ASSERT_TRUE(group.Step({4, 5}).ok());
  EXPECT_THAT(group.choices(),
              ElementsAre(FakeStepRunner::Choice({4}), FakeStepRunner::Choice({5})));
  runner.largest = std::numeric_limits<float>::quiet_NaN();
  const absl::Status status = group.Step({4, 5});
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(ToStd(status.message()), HasSubstr("logits after 2 tokens"));
}

TEST(SequenceGroup, SaysHowToCompileForMore) {
  const auto says = [](const plan::Plan& plan, int64_t sequences, int64_t tokens) {
    const absl::Status status = CheckGroupFits(plan, sequences, tokens);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(ToStd(status.message()));
  };
  plan::Plan plan = LettersPlan(3);
  EXPECT_TRUE(CheckGroupFits(plan, 3, 20).ok());
  EXPECT_THAT(says(plan, 1, 21), HasSubstr("context: expected room for 21 tokens, got 20"));
  EXPECT_THAT(says(plan, 4, 20), HasSubstr("expected a plan for 4 sequences"));
  EXPECT_THAT(says(plan, 4, 20), HasSubstr("at most 3 sequences, 4 tokens and 4 rows"));
  plan.files.push_back({.path = "a.gguf"});
  EXPECT_THAT(says(plan, 4, 20), HasSubstr("renga compile a.gguf --max-seqs 4 -o X.plan"));
  plan.geometry.max_step_tokens = 2;
  EXPECT_THAT(says(plan, 3, 20), HasSubstr("3 sequences, 2 tokens and 2 rows"));
  plan = LettersPlan(3);
  plan.symbols.push_back({"R", 2});
  EXPECT_THAT(says(plan, 3, 20), HasSubstr("3 sequences, 4 tokens and 2 rows"));
  plan = LettersPlan(3);
  plan.symbols = {{"C", 5 * 4}};
  EXPECT_TRUE(CheckGroupFits(plan, 2, 8).ok());
  // 9 tokens take three pages, of which there are five.
  EXPECT_THAT(says(plan, 2, 9), HasSubstr("caches: expected 24 cells, for 2 sequences of 9"));
}

}  // namespace
}  // namespace renga
