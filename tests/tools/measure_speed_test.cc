// What is asked of a model while its speed is measured: exactly what `run --temp 0` asks.
#include "tools/measure_speed.h"

#include <limits>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/strings.h"
#include "tests/tools/fake_step_runner.h"

namespace renga {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

// "0:123+ 4:5" without the tokens: "0:3+ 4:1".
std::string WithoutIds(const std::string& call) {
  std::string out;
  size_t ids = 0;
  const auto flush = [&] {
    if (ids > 0) StrAppend(&out, ids);
    ids = 0;
  };
  bool in_ids = false;
  for (char c : call) {
    if (in_ids && c >= '0' && c <= '9') {
      ++ids;
      continue;
    }
    flush();
    out += c;
    in_ids = c == ':' || (in_ids && c != ' ');
  }
  flush();
  return out;
}

std::vector<std::string> Shapes(const FakeStepRunner& runner) {
  std::vector<std::string> shapes;
  for (const std::string& call : runner.calls) shapes.push_back(WithoutIds(call));
  return shapes;
}

TEST(MeasureSpeed, PromptsGoInLargestStepsFromAnEmptySequence) {
  FakeStepRunner runner(LettersPlan(1));
  const auto measured = MeasurePrompt(runner, 1, 9, {.repetitions = 2});
  ASSERT_TRUE(measured.ok()) << measured.status();
  EXPECT_THAT(Shapes(runner), ElementsAre("0:4", "4:4", "8:1+",  // not measured
                                          "0:4", "4:4", "8:1+", "0:4", "4:4", "8:1+"));
  // Three runs take at least three milliseconds.
  EXPECT_GT(measured->speed.median, 0);
  EXPECT_LE(measured->speed.median, 9 / 0.003);
  EXPECT_EQ(measured->steps, 3);
  EXPECT_EQ(measured->computed_tokens, 9);
}

TEST(MeasureSpeed, PromptsOfManySequencesShareSteps) {
  FakeStepRunner runner(LettersPlan(3));
  const auto measured = MeasurePrompt(runner, 3, 5, {.repetitions = 1});
  ASSERT_TRUE(measured.ok()) << measured.status();
  ASSERT_THAT(runner.calls, SizeIs(8));
  for (int repetition : {0, 4}) {
    const auto shapes = Shapes(runner);
    EXPECT_EQ(shapes[repetition], "0:4");
    EXPECT_EQ(shapes[repetition + 1], "4:1+ 0:3");
    EXPECT_EQ(shapes[repetition + 2], "3:2+ 0:2");
    EXPECT_EQ(shapes[repetition + 3], "2:3+");
  }
  EXPECT_EQ(measured->steps, 4);
  EXPECT_EQ(measured->computed_tokens, 15);
  EXPECT_LE(measured->speed.median, 15 / 0.004) << "all tokens count, and no more";
}

TEST(MeasureSpeed, DecodingFeedsBackWhatTheModelChose) {
  FakeStepRunner runner(LettersPlan(1));
  std::vector<int64_t> done;
  const auto measured = MeasureDecode(
      runner, 1, 5, 3,
      {.repetitions = 1, .on_repetition = [&](int64_t n, int64_t) { done.push_back(n); }});
  ASSERT_TRUE(measured.ok()) << measured.status();
  EXPECT_THAT(Shapes(runner), ElementsAre("0:4", "4:1",            // depth
                                          "5:1+", "6:1+", "7:1+",  // not measured
                                          "5:1+", "6:1+", "7:1+"));
  const auto id = [&](size_t call) { return runner.calls[call][2] - '0'; };
  std::vector<int32_t> tokens;
  for (char c : runner.calls[0].substr(2)) tokens.push_back(c - '0');
  tokens.insert(tokens.end(), {id(1), id(2)});
  EXPECT_EQ(id(3), FakeStepRunner::Choice(tokens));
  tokens.push_back(id(3));
  EXPECT_EQ(id(4), FakeStepRunner::Choice(tokens));
  for (size_t call : {2, 3, 4}) {
    EXPECT_EQ(runner.calls[call], runner.calls[call + 3]) << "each repetition starts alike";
  }
  EXPECT_LE(measured->speed.median, 3 / 0.003);
  EXPECT_EQ(measured->speed.deviation, 0);
  EXPECT_EQ(measured->steps, 3) << "the depth is not measured";
  EXPECT_THAT(done, ElementsAre(1, 2));
}

TEST(MeasureSpeed, ManySequencesDecodeInOneStepForAll) {
  FakeStepRunner runner(LettersPlan(3));
  const auto measured = MeasureDecode(runner, 3, 5, 2, {.repetitions = 1});
  ASSERT_TRUE(measured.ok()) << measured.status();
  EXPECT_THAT(Shapes(runner),
              ElementsAre("0:4", "4:1",  // depth, once
                          "5:1+ 5:1+ 5:1+", "6:1+ 6:1+ 6:1+", "5:1+ 5:1+ 5:1+", "6:1+ 6:1+ 6:1+"));
  EXPECT_EQ(measured->steps, 2);
  EXPECT_EQ(measured->computed_tokens, 6);
  EXPECT_LE(measured->speed.median, 6 / 0.002);
  EXPECT_GT(measured->speed.median, 0);
  // They go on differently.
  const std::string& first = runner.calls[2];  // "5:a+ 5:b+ 5:c+"
  EXPECT_THAT((std::set<char>{first[2], first[7], first[12]}), SizeIs(3)) << first;
}

TEST(MeasureSpeed, NoNumbersAreNoSpeed) {
  FakeStepRunner runner(LettersPlan(2));
  runner.chooses = false;
  ASSERT_TRUE(MeasureDecode(runner, 2, 0, 2, {.repetitions = 1}).ok());
  runner.largest = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(MeasureDecode(runner, 2, 0, 2, {}).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(MeasurePrompt(runner, 1, 2, {}).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_FALSE(MeasureServing(runner, 2, 2, 2, {}).ok());
}

// 2 prompts of 6 tokens, 3 generated behind each, in steps of 4.
TEST(MeasureSpeed, ServingGoesOnWithOneWhileItReadsAnother) {
  FakeStepRunner runner(LettersPlan(2));
  const auto measured = MeasureServing(runner, 2, 6, 3, {.repetitions = 1});
  ASSERT_TRUE(measured.ok()) << measured.status();
  // The last tokens are never fed back. The first sequence goes on as soon as it has been read.
  EXPECT_EQ(measured->computed_tokens, 2 * (6 + 2));
  const std::vector<std::string> shapes = Shapes(runner);
  ASSERT_EQ(static_cast<int64_t>(shapes.size()), 2 * measured->steps);
  ASSERT_GE(measured->steps, 5);
  EXPECT_EQ(shapes[0], "0:4");
  EXPECT_EQ(shapes[1], "4:2+ 0:2");
  EXPECT_EQ(shapes[2], "6:1+ 2:3");
  const size_t steps = shapes.size() / 2;
  for (size_t i = 0; i < steps; ++i) {
    EXPECT_EQ(runner.calls[i], runner.calls[i + steps]) << "nothing is known from the last time";
  }
  // Six generated tokens, each step a millisecond and nearly nothing else.
  EXPECT_LE(measured->speed.median, 6 / (0.001 * static_cast<double>(measured->steps)));
  EXPECT_GE(measured->host_share, 0);
  EXPECT_LT(measured->host_share, 1);
}

// Pages for two of three, in the end.
TEST(MeasureSpeed, ServingNeedsNoRoomForAllAtOnce) {
  plan::Plan plan = LettersPlan(3);
  plan.symbols = {{"C", 6 * 4}};
  FakeStepRunner runner(std::move(plan));
  EXPECT_FALSE(MeasureDecode(runner, 3, 6, 4, {.repetitions = 1}).ok());
  const auto measured = MeasureServing(runner, 3, 6, 4, {.repetitions = 1});
  ASSERT_TRUE(measured.ok()) << measured.status();
  EXPECT_GE(measured->computed_tokens, 3 * (6 + 3)) << "or more, where one gave its pages back";
}

TEST(MeasureSpeed, WhatTheDeviceTakesIsNotTheHosts) {
  FakeStepRunner runner(LettersPlan(1));
  // Runs of a millisecond, with some microseconds of work between them: most of a run's time would
  // have to be lost to other programs, in most repetitions, to make that half.
  const auto measured = MeasureServing(runner, 1, 4, 8, {.repetitions = 9});
  ASSERT_TRUE(measured.ok()) << measured.status();
  EXPECT_LT(measured->host_share, 0.5);
}

TEST(MeasureSpeed, WhatDoesNotFitIsRefused) {
  FakeStepRunner runner(LettersPlan(2));
  EXPECT_TRUE(MeasureDecode(runner, 2, 18, 2, {.repetitions = 1}).ok());
  EXPECT_THAT(ToStd(MeasureDecode(runner, 1, 18, 3, {}).status().message()),
              HasSubstr("expected room for 21 tokens, got 20"));
  EXPECT_EQ(MeasurePrompt(runner, 1, 21, {}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(ToStd(MeasurePrompt(runner, 3, 2, {}).status().message()), HasSubstr("--max-seqs 3"));
  EXPECT_THAT(ToStd(MeasureServing(runner, 2, 12, 9, {}).status().message()),
              HasSubstr("expected room for 21 tokens"));
}

TEST(MeasureSpeed, SummaryIsMedianAndDeviationOfASample) {
  EXPECT_EQ(SummarizeSpeed({5}).median, 5);
  EXPECT_EQ(SummarizeSpeed({5}).deviation, 0);
  EXPECT_EQ(SummarizeSpeed({9, 1, 5}).median, 5);
  EXPECT_EQ(SummarizeSpeed({9, 1, 5}).deviation, 4);  // sqrt((16 + 16 + 0) / 2)
  EXPECT_EQ(SummarizeSpeed({2, 4, 100, 0}).median, 3);
}

}  // namespace
}  // namespace renga
