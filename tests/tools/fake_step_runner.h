// A device that writes down what it is asked, and whose choices show whether the caches were right:
// each depends on all tokens that the sequence's pages hold.
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "ir/base/strings.h"
#include "runtime/exec/step_runner.h"
#include "tests/runtime/memory/kv_plan.h"

namespace renga {

// Vocabulary of 10, context 20, pages of 4 tokens, steps of at most `step_tokens`, rows of as many.
inline plan::Plan LettersPlan(int64_t sequences, int64_t step_tokens = 4) {
  plan::Plan plan = PlanOf(/*context=*/20, sequences, /*pages=*/5 * sequences);
  plan.geometry.max_step_tokens = step_tokens;
  plan.model.vocab = 10;
  TokenizerData& letters = plan.tokenizer;
  letters.model = "gpt2";
  letters.pre = "gpt-2";
  letters.text = "abcdefghij";
  for (uint32_t i = 0; i <= 10; ++i) letters.offsets.push_back(i);
  letters.types.assign(10, TokenType::kNormal);
  // Ends nearly every text, where that is not prevented.
  letters.eos = 3;
  letters.end_of_generation = {0, 1, 2, 3, 4, 5, 6};
  return plan;
}

class FakeStepRunner : public StepRunner {
 public:
  explicit FakeStepRunner(plan::Plan plan) : plan_(std::move(plan)) {}

  // What follows `tokens`.
  static int32_t Choice(const std::vector<int32_t>& tokens) {
    uint32_t hash = 7;
    for (int32_t token : tokens) hash = hash * 31 + static_cast<uint32_t>(token) + 1;
    return static_cast<int32_t>(hash % 10);
  }

  absl::Status Run(const StepInputs& inputs) override {
    std::string call;
    const size_t wide = inputs.pages.size() / static_cast<size_t>(inputs.sequence_count);
    EXPECT_LE(inputs.tokens.size(), static_cast<size_t>(plan_.geometry.max_step_tokens));
    next_.clear();
    size_t row = 0;
    for (size_t i = 0; i < inputs.tokens.size(); ++i) {
      EXPECT_TRUE(inputs.tokens[i] >= 0 && inputs.tokens[i] < 10) << inputs.tokens[i];
      memory[inputs.cells[i]] = inputs.tokens[i];
      if (i == 0 || inputs.sequences[i] != inputs.sequences[i - 1]) {
        StrAppend(&call, i == 0 ? "" : " ", inputs.positions[i], ":");
      }
      StrAppend(&call, inputs.tokens[i]);
      if (row == inputs.rows.size() || inputs.rows[row] != static_cast<int32_t>(i)) continue;
      ++row;
      call += "+";
      std::vector<int32_t> tokens;
      for (int32_t position = 0; position <= inputs.positions[i]; ++position) {
        const size_t page = static_cast<size_t>(inputs.sequences[i]) * wide + position / 4;
        tokens.push_back(memory[inputs.pages[page] * 4 + position % 4]);
      }
      next_.push_back(Choice(tokens));
    }
    EXPECT_EQ(row, inputs.rows.size()) << "rows in the order of the tokens";
    calls.push_back(call);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return absl::OkStatus();
  }
  absl::Status Logits(std::vector<float>* logits) const override {
    logits->assign(next_.size() * 10, 0);
    for (size_t row = 0; row < next_.size(); ++row) (*logits)[row * 10 + next_[row]] = largest;
    return absl::OkStatus();
  }
  absl::Span<const int32_t> next() const override {
    return chooses ? absl::MakeConstSpan(next_) : absl::Span<const int32_t>();
  }
  absl::Status CopyPages(absl::Span<const PageCopy> copies) override {
    for (const PageCopy& copy : copies) {
      for (int32_t i = 0; i < 4; ++i) memory[copy.to * 4 + i] = memory[copy.from * 4 + i];
    }
    copied_pages += copies.size();
    return absl::OkStatus();
  }
  const plan::Plan& plan() const override { return plan_; }
  std::string_view device() const override { return "fake"; }

  // A call each, "0:123+ 4:5": a sequence's first three tokens with logits of the last, and another
  // one's fifth.
  std::vector<std::string> calls;
  std::map<int32_t, int32_t> memory;  // token by cell
  size_t copied_pages = 0;
  bool chooses = true;
  float largest = 1;  // logit, of the choice

 private:
  plan::Plan plan_;
  std::vector<int32_t> next_;
};

}  // namespace renga
