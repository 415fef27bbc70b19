// Traces of some positions: what is kept, and that what is compared are the same tokens' rows.
#include "ir/trace/positions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ir/trace/run_params.h"
#include "tests/ir/trace/make_trace.h"

namespace renga {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TraceRun RunOf(std::vector<int32_t> positions, int64_t tokens = 4) {
  TraceRun run;
  run.ids.assign(tokens, 7);
  run.positions = std::move(positions);
  return run;
}

// As a run computed it: element (row, i) is 10 row + i.
TracedValue Whole(Trace& trace, const char* axis, int64_t rows) {
  std::vector<float> numbers;
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t i = 0; i < 2; ++i) numbers.push_back(static_cast<float>(10 * row + i));
  }
  return AddTraced(trace, "v", "x", {rows, 2}, {axis, "dim"}, numbers);
}

struct Kept {
  std::vector<int64_t> shape;
  std::vector<int32_t> positions;
  std::vector<float> numbers;
};

Kept Keep(const TraceRun& run, const char* axis, int64_t rows) {
  Trace trace;
  TracedValue value = Whole(trace, axis, rows);
  const std::vector<uint8_t> bytes = TakeKept(run, &value);
  value.data = bytes;
  EXPECT_EQ(bytes.size(), value.elements() * sizeof(float));
  return {value.shape, value.positions, AsFloats(value)};
}

TEST(PositionsTest, OfTokensTheRowsAskedForAreKept) {
  const Kept some = Keep(RunOf({0, 3}), "token", 4);
  EXPECT_THAT(some.shape, ElementsAre(2, 2));
  EXPECT_THAT(some.positions, ElementsAre(0, 3));
  EXPECT_THAT(some.numbers, ElementsAre(0, 1, 30, 31));
  const Kept all = Keep(RunOf({}), "token", 4);
  EXPECT_THAT(all.shape, ElementsAre(4, 2));
  EXPECT_THAT(all.positions, IsEmpty());
}

TEST(PositionsTest, RowsAreTheLastOfThem) {
  const Kept rows = Keep(RunOf({0, 2, 3}), "row", 2);
  EXPECT_THAT(rows.positions, ElementsAre(2, 3));
  EXPECT_THAT(rows.numbers, ElementsAre(0, 1, 10, 11));
}

TEST(PositionsTest, OfCachesTheCellsWrittenAreKept) {
  const Kept cells = Keep(RunOf({1}, 3), "cell", 64);
  EXPECT_THAT(cells.shape, ElementsAre(3, 2));
  EXPECT_THAT(cells.positions, IsEmpty()) << "a cell is of every token that reads it";
  EXPECT_THAT(cells.numbers, ElementsAre(0, 1, 10, 11, 20, 21));
  EXPECT_THAT(Keep(RunOf({1}), "axis 0", 5).shape, ElementsAre(5, 2));
}

TEST(PositionsTest, ARunAsksForRowsOfTheTokensKept) {
  EXPECT_THAT(RowsAsked(4, {}, 8), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(RowsAsked(4, {}, 3), ElementsAre(1, 2, 3));
  const std::vector<int32_t> kept = {0, 2, 3};
  EXPECT_THAT(RowsAsked(4, kept, 8), ElementsAre(0, 2, 3));
  EXPECT_THAT(RowsAsked(4, kept, 1), ElementsAre(3));
}

TEST(PositionsTest, CommonOnes) {
  EXPECT_THAT(CommonPositions(RunOf({}), RunOf({})).value(), IsEmpty());
  EXPECT_THAT(CommonPositions(RunOf({}), RunOf({1, 3})).value(), ElementsAre(1, 3));
  EXPECT_THAT(CommonPositions(RunOf({0, 1, 3}), RunOf({1, 2, 3})).value(), ElementsAre(1, 3));
  const absl::Status none = CommonPositions(RunOf({0, 1}), RunOf({2})).status();
  EXPECT_EQ(none.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(none.message()), HasSubstr("got 0,1 in a and 2 in b"));
}

TEST(PositionsTest, RowsOfTheSameTokensAreCompared) {
  Trace trace;
  const TraceRun all = RunOf({}), some = RunOf({0, 2, 3});
  const TracedValue a = Whole(trace, "token", 4);
  TracedValue b = AddTraced(trace, "v", "x", {3, 2}, {"token", "dim"}, {0, 1, 20, 21, 30, 31});
  b.positions = some.positions;
  EXPECT_TRUE(CompareAtPositions(all, a, some, b, some.positions, 0)->identical());
  TracedValue wrong = AddTraced(trace, "v", "x", {3, 2}, {"token", "dim"}, {0, 1, 25, 21, 30, 36});
  wrong.positions = some.positions;
  const ValueError error = CompareAtPositions(all, a, some, wrong, some.positions, 0).value();
  EXPECT_EQ(error.first_at, "token 2, dim 0");
  EXPECT_EQ(error.worst_at, "token 2, dim 0");
  EXPECT_EQ(error.observation, "token 0 equal");
  // Without token 0 nothing is said of it.
  EXPECT_EQ(CompareAtPositions(all, a, some, wrong, {2, 3}, 0)->observation, "");
}

TEST(PositionsTest, LogitsOfFewerRowsMeetTheirOwnTokens) {
  Trace trace;
  const TraceRun all = RunOf({}), some = RunOf({1, 2});
  const TracedValue a = Whole(trace, "token", 4);
  TracedValue b = AddTraced(trace, "v", "x", {1, 2}, {"row", "dim"}, {20, 21});
  EXPECT_TRUE(CompareAtPositions(all, a, some, b, some.positions, 0)->identical());
  const absl::Status none = CompareAtPositions(all, a, some, b, {1}, 0).status();
  EXPECT_EQ(none.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(none.message()), HasSubstr("none of them at a position"));
  // More rows than tokens are no tokens' rows.
  EXPECT_FALSE(CompareAtPositions(RunOf({}, 3), a, some, b, some.positions, 0).ok());
}

}  // namespace
}  // namespace renga
