#include "runtime/exec/generate.h"

#include <cmath>
#include <limits>
#include <map>
#include <optional>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/status.h"
#include "ir/base/strings.h"
#include "runtime/exec/top_logits.h"

namespace renga {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::SizeIs;

// Tokens a..h, then an end-of-generation token.
constexpr int32_t kEnd = 8;

TokenizerData Letters() {
  TokenizerData data;
  data.model = "gpt2";
  data.pre = "gpt-2";
  data.text = "abcdefgh<end>";
  data.offsets = {0, 1, 2, 3, 4, 5, 6, 7, 8, 13};
  data.types.assign(9, TokenType::kNormal);
  data.types[kEnd] = TokenType::kControl;
  data.eos = kEnd;
  data.end_of_generation = {kEnd};
  return data;
}

// Prefers the letter after the last one: a b c ... h <end> a ...
class Alphabet : public Forward {
 public:
  absl::Status Run(absl::Span<const int32_t> tokens, absl::Span<const int32_t> rows,
                   std::vector<float>* logits) override {
    runs.emplace_back(tokens.size(), rows.size());
    position_ += static_cast<int64_t>(tokens.size());
    logits_.assign(rows.size() * 9, 0);
    next_.clear();
    for (size_t i = 0; i < rows.size(); ++i) {
      const int32_t after = (tokens[rows[i]] + 1) % 9;
      logits_[i * 9 + after] = 3;
      logits_[i * 9 + (after + 1) % 9] = 2;
      next_.push_back(says.has_value() ? *says : after);
    }
    if (spoil_logits && !logits_.empty()) logits_[4] = std::numeric_limits<float>::quiet_NaN();
    if (logits != nullptr) RENGA_RETURN_IF_ERROR(Logits(logits));
    if (after_run) after_run();
    return absl::OkStatus();
  }
  absl::Status Logits(std::vector<float>* logits) const override {
    ++logits_fetched;
    *logits = logits_;
    return absl::OkStatus();
  }
  absl::Span<const int32_t> next() const override {
    ++next_asked;
    return says_next ? absl::MakeConstSpan(next_) : absl::Span<const int32_t>();
  }
  int64_t position() const override { return position_; }
  int64_t context() const override { return 12; }
  int64_t max_step_tokens() const override { return 3; }
  int64_t max_rows() const override { return rows; }
  int64_t vocab() const override { return 9; }
  absl::Status Truncate(int64_t position) override {
    position_ = position;
    return absl::OkStatus();
  }
  std::string_view device() const override { return "test"; }

  std::vector<std::pair<size_t, size_t>> runs;  // tokens, rows
  std::function<void()> after_run;
  bool says_next = false;
  std::optional<int32_t> says;  // in place of the letter
  bool spoil_logits = false;
  mutable int logits_fetched = 0, next_asked = 0;
  int64_t rows = 3;  // max_rows()

 private:
  std::vector<float> logits_;
  std::vector<int32_t> next_;
  int64_t position_ = 0;
};

class GenerateTest : public ::testing::Test {
 protected:
  GenerateTest() { options_.sampling.temperature = 0; }

  absl::StatusOr<GenerateResult> Run(std::vector<int32_t> prompt) {
    return Generate(forward_, *tokenizer_, prompt, options_);
  }

  std::unique_ptr<Tokenizer> tokenizer_ = Tokenizer::Create(Letters()).value();
  Alphabet forward_;
  GenerateOptions options_;
};

TEST_F(GenerateTest, GoesOnUntilTheModelEnds) {
  const GenerateResult result = Run({0, 1, 2, 3}).value();
  EXPECT_THAT(result.ids, ElementsAre(4, 5, 6, 7, kEnd));
  EXPECT_EQ(result.text, "efgh");
  EXPECT_EQ(result.finish_reason, FinishReason::kEos);
  EXPECT_THAT(forward_.runs,
              ElementsAre(Pair(3, 0), Pair(1, 1), Pair(1, 1), Pair(1, 1), Pair(1, 1), Pair(1, 1)));
  EXPECT_EQ(result.timings.prompt_tokens, 4);
  EXPECT_EQ(result.timings.decode_tokens, 4);
}

TEST_F(GenerateTest, TheModelsOwnChoicesNeedNoLogits) {
  const GenerateResult expected = Run({0, 1, 2, 3}).value();
  Alphabet forward;
  forward.says_next = true;
  const GenerateResult result =
      Generate(forward, *tokenizer_, std::vector<int32_t>{0, 1, 2, 3}, options_).value();
  EXPECT_EQ(result.ids, expected.ids);
  EXPECT_EQ(result.text, expected.text);
  EXPECT_EQ(forward.runs, forward_.runs);
  EXPECT_EQ(forward.logits_fetched, 0);
  EXPECT_GT(forward_.logits_fetched, 0);
}

TEST_F(GenerateTest, TheModelsChoiceIsTakenOnlyWhereNothingElseIsWanted) {
  forward_.says_next = true;
  forward_.says = 5;  // not what the logits say
  options_.max_tokens = 1;
  EXPECT_THAT(Run({0})->ids, ElementsAre(5));
  const auto ids_with = [&](void (*change)(GenerateOptions & options)) {
    GenerateOptions options = options_;
    change(options);
    Alphabet forward;
    forward.says_next = true;
    forward.says = 5;
    const auto result = Generate(forward, *tokenizer_, std::vector<int32_t>{0}, options);
    EXPECT_EQ(forward.next_asked, 0);
    return result->ids;
  };
  EXPECT_THAT(ids_with([](GenerateOptions& o) { o.top_logits = 1; }), ElementsAre(1));
  EXPECT_THAT(ids_with([](GenerateOptions& o) { o.prompt_top = true; }), ElementsAre(1));
  EXPECT_THAT(ids_with([](GenerateOptions& o) { o.ignore_eos = true; }), ElementsAre(1));
  EXPECT_THAT(ids_with([](GenerateOptions& o) {
                o.sampling.logit_bias = {{2, 2.f}};
              }),
              ElementsAre(2));
  EXPECT_THAT(ids_with([](GenerateOptions& o) { o.sampling.penalties.repeat = 1.5f; }),
              ElementsAre(1));
  EXPECT_THAT(ids_with([](GenerateOptions& o) {
                o.sampling.temperature = 0.01f;
                o.sampling.top_k = 1;
              }),
              ElementsAre(1));
}

TEST_F(GenerateTest, WhereTheModelChoosesNothingTheSamplerSaysWhy) {
  options_.max_tokens = 1;
  forward_.says_next = true;
  forward_.says = 9;  // a column of padding
  EXPECT_THAT(Run({0})->ids, ElementsAre(1));
  forward_.says = -1;
  EXPECT_THAT(Run({0})->ids, ElementsAre(1));
  forward_.spoil_logits = true;
  const absl::Status status = Run({0}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(ToStd(status.message()),
            "sampling: the logit of token 4 is nan; the model computed nonsense, run verify");
}

TEST_F(GenerateTest, StopsAtTheNumberAskedFor) {
  options_.max_tokens = 2;
  const GenerateResult result = Run({0}).value();
  EXPECT_THAT(result.ids, ElementsAre(1, 2));
  EXPECT_EQ(result.finish_reason, FinishReason::kLength);
  EXPECT_EQ(forward_.position(), 2);  // the last token is not run
}

TEST_F(GenerateTest, NoTokensAskedForRunsThePromptOnly) {
  options_.max_tokens = 0;
  const GenerateResult result = Run({0, 1, 2, 3}).value();
  EXPECT_THAT(result.ids, IsEmpty());
  EXPECT_EQ(result.text, "");
  EXPECT_EQ(result.finish_reason, FinishReason::kLength);
  EXPECT_THAT(forward_.runs, ElementsAre(Pair(3, 0), Pair(1, 0)));
}

TEST_F(GenerateTest, PromptTopReportsEveryPosition) {
  options_.max_tokens = 0;
  options_.top_logits = 2;
  options_.prompt_top = true;
  const GenerateResult result = Run({0, 5, 7, 2}).value();
  EXPECT_THAT(
      result.prompt_top,
      ElementsAre(ElementsAre(Pair(1, 3), Pair(2, 2)), ElementsAre(Pair(6, 3), Pair(7, 2)),
                  ElementsAre(Pair(8, 3), Pair(0, 2)), ElementsAre(Pair(3, 3), Pair(4, 2))));
}

// A model that gives fewer rows of logits than it takes tokens reads the prompt in more steps, with
// the same result.
TEST_F(GenerateTest, PromptTopAsksForNoMoreRowsThanThereAre) {
  options_.max_tokens = 0;
  options_.top_logits = 2;
  options_.prompt_top = true;
  const std::vector<int32_t> prompt = {0, 5, 7, 2, 4};
  const GenerateResult whole = Run(prompt).value();
  EXPECT_THAT(forward_.runs, ElementsAre(Pair(3, 3), Pair(2, 2)));
  for (const size_t rows : {1, 2}) {
    ASSERT_TRUE(forward_.Truncate(0).ok());
    forward_.runs.clear();
    forward_.rows = static_cast<int64_t>(rows);
    EXPECT_EQ(Run(prompt)->prompt_top, whole.prompt_top);
    for (const auto& [tokens, asked] : forward_.runs) EXPECT_LE(asked, rows);
  }
  // Without them the steps are as long as ever.
  options_.prompt_top = false;
  ASSERT_TRUE(forward_.Truncate(0).ok());
  forward_.runs.clear();
  ASSERT_TRUE(Run(prompt).ok());
  EXPECT_THAT(forward_.runs, ElementsAre(Pair(3, 0), Pair(2, 0)));
}

TEST_F(GenerateTest, TopLogitsComeWithEveryToken) {
  options_.max_tokens = 1;
  options_.top_logits = 3;
  const GenerateResult result = Run({0}).value();
  ASSERT_THAT(result.tokens, SizeIs(1));
  EXPECT_THAT(result.tokens[0].top, ElementsAre(Pair(1, 3), Pair(2, 2), Pair(0, 0)));
  EXPECT_NEAR(result.tokens[0].logprob, 3 - std::log(std::exp(3.0) + std::exp(2.0) + 7), 1e-12);
}

TEST_F(GenerateTest, AStopStringIsNotShown) {
  options_.stop = {"de"};
  std::string streamed;
  options_.on_token = [&](const GeneratedToken& token) { streamed += token.text; };
  const GenerateResult result = Run({0}).value();
  EXPECT_EQ(result.text, "bc");
  EXPECT_EQ(streamed, "bc");
  EXPECT_THAT(result.ids, ElementsAre(1, 2, 3, 4));
  EXPECT_EQ(result.finish_reason, FinishReason::kStop);
}

TEST_F(GenerateTest, TextHeldBackForAStopStringComesAtTheEnd) {
  options_.stop = {"dex"};
  options_.max_tokens = 4;
  EXPECT_EQ(Run({0})->text, "bcde");
}

TEST_F(GenerateTest, IgnoringTheEndTakesTheNextBest) {
  options_.ignore_eos = true;
  options_.max_tokens = 3;
  EXPECT_THAT(Run({6})->ids, ElementsAre(7, 0, 1));
}

TEST_F(GenerateTest, AFullContextEndsIt) {
  options_.ignore_eos = true;
  const GenerateResult result = Run({0, 1}).value();
  EXPECT_EQ(result.finish_reason, FinishReason::kLength);
  EXPECT_THAT(result.ids, SizeIs(11));  // the last one needs no place
  EXPECT_EQ(forward_.position(), 12);
}

TEST_F(GenerateTest, CancelEndsItWithWhatThereIs) {
  std::atomic<bool> cancel{false};
  options_.cancel = &cancel;
  options_.on_token = [&](const GeneratedToken& token) {
    if (token.id == 3) cancel = true;
  };
  const GenerateResult result = Run({0}).value();
  EXPECT_EQ(result.finish_reason, FinishReason::kInterrupted);
  EXPECT_EQ(result.text, "bcd");
}

TEST_F(GenerateTest, CancelIsSeenBetweenChunksOfThePrompt) {
  std::atomic<bool> cancel{false};
  options_.cancel = &cancel;
  forward_.after_run = [&] { cancel = true; };
  const GenerateResult result = Run({0, 1, 2, 3, 4, 5, 6}).value();
  EXPECT_EQ(result.finish_reason, FinishReason::kInterrupted);
  EXPECT_THAT(result.ids, IsEmpty());
  EXPECT_EQ(result.timings.prompt_tokens, 3);
}

TEST_F(GenerateTest, ReportsTheProgressOfThePrompt) {
  std::vector<std::pair<int64_t, int64_t>> seen;
  options_.max_tokens = 0;
  options_.on_prompt = [&](int64_t done, int64_t of) { seen.emplace_back(done, of); };
  ASSERT_TRUE(Run({0, 1, 2, 3}).ok());
  EXPECT_THAT(seen, ElementsAre(Pair(3, 4), Pair(4, 4)));
}

TEST_F(GenerateTest, ALongPromptSaysBothNumbers) {
  const absl::Status status = Run(std::vector<int32_t>(13, 1)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ToStd(status.message()),
            "prompt: 13 tokens do not fit the context of 12; shorten it or use a larger context "
            "(-c 13 or more)");
  options_.max_tokens = 1;
  ASSERT_TRUE(Run({1, 2}).ok());
  EXPECT_THAT(ToStd(Run(std::vector<int32_t>(11, 1)).status().message()),
              HasSubstr("prompt: 11 tokens do not fit the context of 12, 2 of them used"));
}

TEST_F(GenerateTest, BadPromptsAreErrors) {
  EXPECT_EQ(Run({}).status().code(), absl::StatusCode::kInvalidArgument);
  const absl::Status status = Run({1, 9}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kOutOfRange);
  EXPECT_THAT(ToStd(status.message()), HasSubstr("prompt: token 1: expected an id 0..8, got 9"));
  EXPECT_THAT(forward_.runs, IsEmpty());
}

TEST(TopLogits, SortsTiesByIdAndNanLast) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> logits = {nan, 1, 2, 2, -5};
  EXPECT_THAT(TopLogits(logits, 4), ElementsAre(Pair(2, 2), Pair(3, 2), Pair(1, 1), Pair(4, -5)));
  EXPECT_THAT(TopLogits(logits, 9), SizeIs(5));
  EXPECT_THAT(TopLogits(logits, -1), IsEmpty());
}

TEST(FinishReasonNames, AreThoseOfTheCommandLine) {
  EXPECT_EQ(ToString(FinishReason::kStop), "stop");
  EXPECT_EQ(ToString(FinishReason::kInterrupted), "interrupted");
}

}  // namespace
}  // namespace renga
