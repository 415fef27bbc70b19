// What wrong values say by themselves.
#include "ir/trace/likely.h"

#include <cmath>
#include <cstring>
#include <functional>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/trace/stats.h"

namespace renga {
namespace {

using testing::HasSubstr;

constexpr int64_t kTokens = 5, kHeads = 4, kDims = 8;

std::vector<float> Right() {
  std::vector<float> values(kTokens * kHeads * kDims);
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = std::sin(static_cast<float>(i) * 1.7f) + 0.01f * static_cast<float>(i % 13);
  }
  return values;
}

float& At(std::vector<float>& values, int64_t t, int64_t h, int64_t d) {
  return values[(t * kHeads + h) * kDims + d];
}

using Change = std::function<void(int64_t t, int64_t h, int64_t d, float* x)>;

// What is said of the right values after `change` of each of them.
Likely Say(const Change& change, std::vector<float>* before = nullptr) {
  std::vector<float> right = Right(), wrong = right;
  for (int64_t t = 0; t < kTokens; ++t) {
    for (int64_t h = 0; h < kHeads; ++h) {
      for (int64_t d = 0; d < kDims; ++d) change(t, h, d, &At(wrong, t, h, d));
    }
  }
  const auto value = [](const std::vector<float>& of) {
    TracedValue traced;
    traced.name = "x";
    traced.shape = {kTokens, kHeads, kDims};
    traced.axes = {"token", "head", "dim"};
    traced.data = {reinterpret_cast<const uint8_t*>(of.data()), of.size() * sizeof(float)};
    traced.stats = ComputeStats(traced);
    return traced;
  };
  const auto error = CompareValues(value(right), value(wrong), kSameValue);
  EXPECT_TRUE(error.ok()) << error.status();
  return LikelyFromValues(value(right), value(wrong), *error, before);
}

void Expect(const Likely& likely, const std::string& kind, const std::string& text) {
  EXPECT_EQ(likely.kind, kind);
  EXPECT_THAT(likely.text, HasSubstr(text));
}

TEST(LikelyFromValues, NumbersThatAreNone) {
  Expect(Say([](int64_t t, int64_t, int64_t, float* x) { *x = t == 3 ? std::nanf("") : *x; }),
         "not a number", "holds NaN");
  Expect(Say([](int64_t t, int64_t, int64_t, float* x) { *x = t == 3 ? INFINITY : *x; }),
         "not a number", "holds infinities");
}

TEST(LikelyFromValues, ZerosAndScales) {
  Expect(Say([](int64_t, int64_t, int64_t, float* x) { *x = 0; }), "zeros", "holds zeros");
  Expect(Say([](int64_t, int64_t h, int64_t, float* x) { *x = h == 2 ? 0 : *x; }), "zeros",
         "head 2 holds zeros");
  Expect(Say([](int64_t, int64_t, int64_t, float* x) { *x *= -8; }), "scaled", "is -8 times");
}

TEST(LikelyFromValues, APartThatIsMissing) {
  Expect(Say([](int64_t, int64_t, int64_t d, float* x) { *x = d >= 3 ? 0 : *x; }), "truncated",
         "only the first 3 of 8 along dim are there");
  std::vector<float> before = Right();
  for (float& x : before) x += 3;
  Expect(Say([&](int64_t t, int64_t h, int64_t d,
                 float* x) { *x = h == 1 ? At(before, t, h, d) : *x; },
             &before),
         "not written", "head 1: nothing was written");
  Expect(Say([&](int64_t t, int64_t h, int64_t d, float* x) { *x = At(before, t, h, d); }, &before),
         "not written", "is as it was before");
}

TEST(LikelyFromValues, Rows) {
  std::vector<float> right = Right();
  Expect(Say([&](int64_t t, int64_t h, int64_t d, float* x) {
           *x = t == 0 ? 9 : At(right, t - 1, h, d);
         }),
         "wrong row", "each row is that of the one before");
  Expect(Say([&](int64_t t, int64_t h, int64_t d, float* x) {
           *x = At(right, t == 1 ? 4 : (t == 4 ? 1 : t), h, d);
         }),
         "wrong row", "token 1 holds what belongs to 4, token 4 holds what belongs to 1");
}

TEST(LikelyFromValues, Orders) {
  std::vector<float> right = Right();
  Expect(Say([&](int64_t t, int64_t h, int64_t d, float* x) {
           const int64_t flat = (t * kHeads + h) * kDims + d, i = flat % kDims;
           *x = At(right, flat / kDims % kTokens, flat / kDims / kTokens, i);
         }),
         "transposed", "token and head are exchanged");
  Expect(Say([&](int64_t t, int64_t, int64_t d, float* x) { *x = At(right, t, 0, d); }), "permuted",
         "head 1 holds what belongs to 0");
  Expect(Say([&](int64_t t, int64_t h, int64_t d, float* x) {
           *x = At(right, t, h, d < 4 ? 2 * d : 2 * (d - 4) + 1);
         }),
         "permuted", "dim: halves (i, i+4) hold what belongs to (2i, 2i+1)");
  Expect(Say([&](int64_t t, int64_t h, int64_t d, float* x) {
           *x = At(right, t, h, d % 2 == 0 ? d / 2 : 4 + d / 2);
         }),
         "permuted", "dim: pairs (2i, 2i+1) hold what belongs to (i, i+4)");
}

TEST(LikelyFromValues, NothingOfAllThat) {
  EXPECT_EQ(Say([](int64_t t, int64_t, int64_t d, float* x) { *x += 0.1f * (t + d); }).text, "");
}

}  // namespace
}  // namespace renga
