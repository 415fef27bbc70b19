// What is asked of a model while its speed is measured: exactly what `run --temp 0` asks.
#include "tools/measure_speed.h"

#include <chrono>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/strings.h"

namespace renga {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// Writes down what it is asked: "4" four tokens, "4+" with the last one's logits, "<2" forgotten
// down to two.
class FakeForward : public Forward {
 public:
  absl::Status Run(absl::Span<const int32_t> tokens, absl::Span<const int32_t> rows,
                   std::vector<float>* logits) override {
    EXPECT_EQ(logits, nullptr);
    for (int32_t id : tokens) EXPECT_TRUE(id >= 0 && id < vocab()) << id;
    if (!rows.empty()) {
      EXPECT_THAT(rows, ElementsAre(static_cast<int32_t>(tokens.size()) - 1));
    }
    calls.push_back(std::to_string(tokens.size()) + (rows.empty() ? "" : "+"));
    if (tokens.size() == 1) fed.push_back(tokens[0]);
    position_ += static_cast<int64_t>(tokens.size());
    EXPECT_LE(position_, context());
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    ++chosen;
    next_ = chooses ? chosen % 10 : -1;
    return absl::OkStatus();
  }
  absl::Status Logits(std::vector<float>* logits) const override {
    *logits = logits_of_last;
    return absl::OkStatus();
  }
  absl::Span<const int32_t> next() const override { return {&next_, 1}; }
  int64_t position() const override { return position_; }
  int64_t context() const override { return 20; }
  int64_t max_step_tokens() const override { return 4; }
  int64_t max_rows() const override { return 4; }
  int64_t vocab() const override { return 10; }
  absl::Status Truncate(int64_t position) override {
    calls.push_back("<" + std::to_string(position));
    EXPECT_LE(position, position_);
    position_ = position;
    return absl::OkStatus();
  }
  std::string_view device() const override { return "fake"; }

  std::vector<std::string> calls;
  std::vector<int32_t> fed;  // tokens that came alone
  std::vector<float> logits_of_last = std::vector<float>(10, 0);
  bool chooses = true;
  int chosen = 0;

 private:
  int64_t position_ = 0;
  int32_t next_ = -1;
};

TEST(MeasureSpeed, PromptsGoInLargestStepsFromAnEmptySequence) {
  FakeForward forward;
  const auto speed = MeasurePrompt(forward, 9, {.repetitions = 2});
  ASSERT_TRUE(speed.ok()) << speed.status();
  EXPECT_THAT(forward.calls, ElementsAre("<0", "4", "4", "1+",  // not measured
                                         "<0", "4", "4", "1+", "<0", "4", "4", "1+"));
  // Three runs take at least three milliseconds.
  EXPECT_GT(speed->median, 0);
  EXPECT_LE(speed->median, 9 / 0.003);
}

TEST(MeasureSpeed, DecodingFeedsBackWhatTheModelChose) {
  FakeForward forward;
  std::vector<int64_t> done;
  const auto speed = MeasureDecode(
      forward, 5, 3,
      {.repetitions = 1, .on_repetition = [&](int64_t n, int64_t) { done.push_back(n); }});
  ASSERT_TRUE(speed.ok()) << speed.status();
  EXPECT_THAT(forward.calls, ElementsAre("<0", "4", "1",          // depth
                                         "<5", "1+", "1+", "1+",  // not measured
                                         "<5", "1+", "1+", "1+"));
  // After the depth's last token and a random one, the choices of the runs before: 3 and 4.
  ASSERT_EQ(forward.fed.size(), 7u);
  EXPECT_EQ(forward.fed[2], 3);
  EXPECT_EQ(forward.fed[3], 4);
  EXPECT_EQ(forward.fed[1], forward.fed[4]) << "each repetition starts alike";
  EXPECT_LE(speed->median, 3 / 0.003);
  EXPECT_EQ(speed->deviation, 0);
  EXPECT_THAT(done, ElementsAre(1, 2));
}

TEST(MeasureSpeed, WithoutAChoiceOfTheModelTheLargestLogitIsTaken) {
  FakeForward forward;
  forward.chooses = false;
  forward.logits_of_last[7] = forward.logits_of_last[8] = 1;
  ASSERT_TRUE(MeasureDecode(forward, 0, 2, {.repetitions = 1}).ok());
  EXPECT_EQ(forward.fed[1], 7);
  forward.logits_of_last[3] = std::numeric_limits<float>::quiet_NaN();
  const auto speed = MeasureDecode(forward, 0, 2, {.repetitions = 1});
  EXPECT_EQ(speed.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(ToStd(speed.status().message()), HasSubstr("logits after 1 tokens"));
}

TEST(MeasureSpeed, WhatDoesNotFitIsRefused) {
  FakeForward forward;
  EXPECT_TRUE(MeasureDecode(forward, 18, 2, {.repetitions = 1}).ok());
  EXPECT_THAT(ToStd(MeasureDecode(forward, 18, 3, {}).status().message()),
              HasSubstr("expected room for 21 tokens, got 20"));
  EXPECT_EQ(MeasurePrompt(forward, 21, {}).status().code(), absl::StatusCode::kInvalidArgument);
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
