#include "runtime/text/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "runtime/text/philox.h"

namespace renga {
namespace {

using ::testing::HasSubstr;

constexpr float kInf = std::numeric_limits<float>::infinity();

Sampler Make(SamplingParams params, int32_t vocab) {
  auto sampler = Sampler::Create(std::move(params), vocab);
  EXPECT_TRUE(sampler.ok()) << sampler.status();
  return *std::move(sampler);
}

TEST(Sampler, GreedyTakesTheLowestOfEqualIds) {
  Sampler sampler = Make({.temperature = 0}, 4);
  EXPECT_EQ(*sampler.Sample({1.0f, 3.0f, 3.0f, -kInf}), 1);
}

TEST(Sampler, GreedyObeysBiasAndPenalties) {
  SamplingParams params{.temperature = 0, .logit_bias = {{1, -kInf}}};
  params.penalties.repeat = 2;
  Sampler sampler = Make(params, 4);
  EXPECT_EQ(*sampler.Sample({1.0f, 5.0f, 3.0f, 2.0f}), 2);
  sampler.Accept(2);
  EXPECT_EQ(*sampler.Sample({1.0f, 5.0f, 3.0f, 2.0f}), 3);
}

TEST(Sampler, PaddingIsNeverChosen) {
  Sampler sampler = Make({.temperature = 0}, 2);
  EXPECT_EQ(*sampler.Sample({1.0f, 0.0f, 9.0f, std::nanf("")}), 0);
}

TEST(Sampler, SeedDecidesAndStepCounts) {
  const std::vector<float> logits(100, 0.0f);
  const SamplingParams params{.top_k = 0, .top_p = 1, .min_p = 0, .seed = 7};
  Sampler a = Make(params, 100), b = Make(params, 100);
  SamplingParams other = params;
  other.seed = 8;
  Sampler c = Make(other, 100);
  std::vector<int32_t> from_a, from_b, from_c;
  for (int i = 0; i < 50; ++i) {
    from_a.push_back(*a.Sample(logits));
    from_b.push_back(*b.Sample(logits));
    from_c.push_back(*c.Sample(logits));
    // Equal probabilities: the token is the random number, scaled.
    EXPECT_EQ(from_a.back(), static_cast<int32_t>(UniformOfStep(7, i) * 100));
  }
  EXPECT_EQ(from_a, from_b);
  EXPECT_NE(from_a, from_c);
  EXPECT_GT(std::set<int32_t>(from_a.begin(), from_a.end()).size(), 20u);
}

TEST(Sampler, FrequenciesFollowTheProbabilities) {
  const std::vector<float> logits = {0.0f, std::log(3.0f), -kInf};
  Sampler sampler = Make({.temperature = 1, .top_k = 0, .top_p = 1, .min_p = 0}, 3);
  int ones = 0;
  for (int i = 0; i < 4'000; ++i) {
    const int32_t id = *sampler.Sample(logits);
    ASSERT_NE(id, 2);
    ones += id;
  }
  EXPECT_NEAR(ones, 3'000, 120);  // 4.4 standard deviations
}

TEST(Sampler, NonsenseLogitsAreErrors) {
  for (float temperature : {0.0f, 0.8f}) {
    Sampler sampler = Make({.temperature = temperature}, 3);
    auto nan = sampler.Sample({1.0f, std::nanf(""), 2.0f});
    ASSERT_EQ(nan.status().code(), absl::StatusCode::kDataLoss);
    EXPECT_THAT(std::string(nan.status().message()), HasSubstr("token 1"));
    EXPECT_FALSE(sampler.Sample({1.0f, kInf, 2.0f}).ok());
    EXPECT_FALSE(sampler.Sample({-kInf, -kInf, -kInf}).ok());
    EXPECT_FALSE(sampler.Sample({1.0f}).ok());
    EXPECT_EQ(sampler.step(), 0u);
    EXPECT_TRUE(sampler.Sample({1.0f, 3e38f, -3e38f}).ok());
  }
}

TEST(Sampler, BadParametersAreErrors) {
  const float nan = std::nanf("");
  EXPECT_FALSE(Sampler::Create({.temperature = nan}, 3).ok());
  EXPECT_FALSE(Sampler::Create({.top_p = nan}, 3).ok());
  EXPECT_FALSE(Sampler::Create({.min_p = 1.5f}, 3).ok());
  EXPECT_FALSE(Sampler::Create({.penalties = {.repeat = 0}}, 3).ok());
  EXPECT_FALSE(Sampler::Create({.logit_bias = {{3, 1.0f}}}, 3).ok());
  EXPECT_FALSE(Sampler::Create({.logit_bias = {{-1, 1.0f}}}, 3).ok());
  EXPECT_FALSE(Sampler::Create({.logit_bias = {{1, kInf}}}, 3).ok());
  EXPECT_FALSE(Sampler::Create({}, 0).ok());
}

TEST(Sampler, AWholeVocabularyIsQuick) {
  std::vector<float> logits(151'936);
  for (size_t i = 0; i < logits.size(); ++i) {
    logits[i] = static_cast<float>(i * 7919 % 10'007) / 500;
  }
  Sampler sampler = Make({}, 151'936);
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(sampler.Sample(logits).ok());
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
  RecordProperty("ms_per_token", std::to_string(took.count() / 20));
  EXPECT_LT(took.count() / 20, 50);
}

}  // namespace
}  // namespace renga
