#include "runtime/text/token_weight.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace renga {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

TEST(TokenWeight, IsTheExponentialInUnitsOf2ToMinus42) {
  for (int i = 0; i < 40'000; ++i) {
    const float d = static_cast<float>(i) * 0x1.77p-11f;  // 0 to 28.6
    const double exact = std::exp(-static_cast<double>(d)) * 0x1p42;
    // Half of one for the rounding; 2^-44 for the formula, a quarter at most; and std::exp's.
    EXPECT_NEAR(static_cast<double>(TokenWeight(-d, 0)), exact, 0.8) << d;
  }
}

TEST(TokenWeight, NeverRisesAsALogitFalls) {
  uint64_t before = kWholeWeight;
  for (float logit = 5; logit > -25; logit -= 0.0007f) {
    const uint64_t weight = TokenWeight(logit, 5);
    ASSERT_LE(weight, before) << logit;
    before = weight;
  }
  EXPECT_LT(before, uint64_t{1} << 2);
}

TEST(TokenWeight, Ends) {
  EXPECT_EQ(TokenWeight(0, 0), kWholeWeight);
  EXPECT_EQ(TokenWeight(-3e38f, -3e38f), kWholeWeight);
  EXPECT_EQ(TokenWeight(-3e38f, 3e38f), 0u);
  EXPECT_EQ(TokenWeight(-kInf, 0), 0u);
  EXPECT_EQ(TokenWeight(-kInf, -kInf), 0u);
  // One token less than half of the least weight is nothing.
  EXPECT_EQ(TokenWeight(-29.4f, 0), 1u);
  EXPECT_EQ(TokenWeight(-29.9f, 0), 0u);
  // All weights of a vocabulary can be added.
  EXPECT_EQ(uint64_t{kMostWeights} * kWholeWeight / kWholeWeight, uint64_t{kMostWeights});
}

}  // namespace
}  // namespace renga
