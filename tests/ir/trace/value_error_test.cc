#include "ir/trace/value_error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/ir/trace/make_trace.h"

namespace renga {
namespace {

using ::testing::DoubleNear;
using ::testing::HasSubstr;

constexpr double kInfinite = std::numeric_limits<double>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
const std::vector<std::string> kHeads = {"token", "head", "dim"};

ValueError Compare(std::vector<int64_t> shape, std::vector<float> a, std::vector<float> b,
                   std::vector<std::string> axes = kHeads, double rtol = 1e-5) {
  Trace trace;
  const TracedValue x = AddTraced(trace, "q", "rope", shape, axes, a);
  const TracedValue y = AddTraced(trace, "q", "rope", shape, axes, b);
  absl::StatusOr<ValueError> error = CompareValues(x, y, rtol);
  EXPECT_TRUE(error.ok()) << error.status();
  return error.ok() ? *error : ValueError();
}

TEST(ValueErrorTest, FiguresOfAKnownDifference) {
  // a = (3, 4), b = (3, 1): ||a-b|| = 3, ||a|| = 5, cos = (9 + 4) / (5 * sqrt(10)).
  const ValueError error = Compare({1, 1, 2}, {3, 4}, {3, 1});
  EXPECT_EQ(error.elements, 2);
  EXPECT_EQ(error.max_abs, 3);
  EXPECT_EQ(error.mean_abs, 1.5);
  EXPECT_THAT(error.relative, DoubleNear(0.6, 1e-12));
  EXPECT_THAT(error.cosine, DoubleNear(13 / (5 * std::sqrt(10.0)), 1e-12));
  EXPECT_EQ(error.worst_at, "token 0, head 0, dim 1");
  EXPECT_EQ(error.a_at_worst, 4);
  EXPECT_EQ(error.b_at_worst, 1);
  EXPECT_EQ(error.beyond, 1);
  EXPECT_FALSE(error.identical());
}

TEST(ValueErrorTest, NamesCoordinatesAndWhatIsEqual) {
  std::vector<float> a(3 * 2 * 4, 1.0f), b = a;
  for (size_t i = 8; i < a.size(); ++i) b[i] = 1.5f;  // all but token 0
  b[2 * 8 + 1 * 4 + 3] = 5;
  const ValueError error = Compare({3, 2, 4}, a, b);
  EXPECT_EQ(error.worst_at, "token 2, head 1, dim 3");
  EXPECT_EQ(error.first_at, "token 1, head 0, dim 0");
  EXPECT_EQ(error.observation, "token 0 equal");
}

TEST(ValueErrorTest, NamesTheOneHeadThatDiffers) {
  std::vector<float> a(2 * 3 * 2, 1.0f), b = a;
  b[2] = b[3] = b[8] = 2;
  EXPECT_EQ(Compare({2, 3, 2}, a, b).observation, "only head 1");
}

TEST(ValueErrorTest, WithinToleranceIsNoFirst) {
  const ValueError error = Compare({1, 1, 2}, {1, 1}, {1, 1.000001f});
  EXPECT_EQ(error.first, -1);
  EXPECT_EQ(error.first_at, "");
  EXPECT_EQ(error.observation, "");
  EXPECT_EQ(error.worst_at, "token 0, head 0, dim 1");
}

TEST(ValueErrorTest, ANumberAgainstNanIsAnInfiniteError) {
  const ValueError error = Compare({1, 1, 4}, {1, 1, kNan, INFINITY}, {1, kNan, kNan, INFINITY});
  EXPECT_EQ(error.max_abs, kInfinite);
  EXPECT_EQ(error.lone_nonfinite, 1);
  EXPECT_EQ(error.worst_at, "token 0, head 0, dim 1");
  EXPECT_EQ(error.first_at, "token 0, head 0, dim 1");
  EXPECT_EQ(error.a_nans, 1);
  EXPECT_EQ(error.b_nans, 2);
  EXPECT_EQ(error.a_infs, 1);
  EXPECT_EQ(error.relative, 0);  // of the elements that both sides have
}

TEST(ValueErrorTest, NansAndInfinitiesInTheSamePlacesAreIdentical) {
  EXPECT_TRUE(Compare({1, 1, 3}, {1, kNan, -INFINITY}, {1, kNan, -INFINITY}).identical());
  EXPECT_FALSE(Compare({1, 1, 1}, {INFINITY}, {-INFINITY}).identical());
}

TEST(ValueErrorTest, ZerosAgainstZerosAndAgainstOthers) {
  EXPECT_EQ(Compare({1, 1, 2}, {0, 0}, {0, -0.0f}).cosine, 1);
  EXPECT_EQ(Compare({1, 1, 2}, {0, 0}, {0, 1}).relative, kInfinite);
  EXPECT_EQ(Compare({1, 1, 2}, {0, 0}, {0, 1}).cosine, 0);
}

TEST(ValueErrorTest, ComparesNarrowTypesByValue) {
  Trace trace;
  const TracedValue a = AddTraced(trace, "k", "kv_append", {2}, {"cell"}, {1, 1.00048828125f});
  const TracedValue half =
      AddTraced(trace, "k", "kv_append", {2}, {"cell"}, {1, 1.00048828125f}, DType::kF16);
  const TracedValue brain =
      AddTraced(trace, "k", "kv_append", {2}, {"cell"}, {1, 1.00048828125f}, DType::kBF16);
  EXPECT_EQ(CompareValues(a, half, 0)->max_abs, 0.00048828125);  // halfway, to even
  EXPECT_EQ(CompareValues(half, brain, 0)->max_abs, 0);
}

TEST(ValueErrorTest, MergedHeadsAreComparedAsTheyLie) {
  Trace trace;
  const TracedValue merged =
      AddTraced(trace, "q", "linear", {1, 4}, {"token", "dim"}, {1, 2, 3, 4});
  const TracedValue split = AddTraced(trace, "q", "rope", {1, 2, 2}, kHeads, {1, 2, 3, 5});
  EXPECT_EQ(CompareValues(merged, split, 1e-5)->worst_at, "token 0, head 1, dim 1");
}

TEST(ValueErrorTest, CachesOfOtherSizesShareTheirFirstCellsAndRowsTheLast) {
  Trace trace;
  const TracedValue cells3 = AddTraced(trace, "k", "", {3, 1}, {"cell", "dim"}, {1, 2, 0});
  const TracedValue cells2 = AddTraced(trace, "k", "", {2, 1}, {"cell", "dim"}, {1, 9});
  EXPECT_EQ(CompareValues(cells3, cells2, 1e-5)->worst_at, "cell 1, dim 0");
  EXPECT_EQ(CompareValues(cells3, cells2, 1e-5)->elements, 2);
  const TracedValue rows3 = AddTraced(trace, "x", "", {3, 1}, {"token", "dim"}, {1, 2, 3});
  const TracedValue rows1 = AddTraced(trace, "x", "", {1, 1}, {"row", "dim"}, {3});
  EXPECT_TRUE(CompareValues(rows3, rows1, 1e-5)->identical());
}

TEST(ValueErrorTest, RefusesOtherSizes) {
  Trace trace;
  const TracedValue a = AddTraced(trace, "q", "", {1, 3}, {"token", "dim"}, {1, 2, 3});
  const TracedValue b = AddTraced(trace, "q", "", {1, 2}, {"token", "dim"}, {1, 2});
  const absl::StatusOr<ValueError> error = CompareValues(a, b, 1e-5);
  ASSERT_FALSE(error.ok());
  EXPECT_THAT(std::string(error.status().message()), HasSubstr("got f32[1,3] and f32[1,2]"));
}

TEST(ValueErrorTest, EmptyValuesHaveNoWorst) {
  const ValueError error = Compare({0, 2, 4}, {}, {});
  EXPECT_EQ(error.worst, -1);
  EXPECT_TRUE(error.identical());
}

}  // namespace
}  // namespace renga
