// A device that works while the host does something else, around one that does not: what it is told
// happens at any moment between then and when somebody waits for it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "ir/base/status.h"
#include "runtime/exec/step_runner.h"

namespace renga {

class LateRunner : public StepRunner {
 public:
  // Where the other refuses tokens that are none, `refuses`: it gets token 0 then, and chooses -1
  // as a device does whose embedding is NaN.
  LateRunner(std::unique_ptr<StepRunner> runner, uint32_t seed, bool refuses = true)
      : runner_(std::move(runner)), random_(seed), refuses_(refuses) {}

  absl::Status Run(const StepInputs& inputs) override {
    RENGA_RETURN_IF_ERROR(Start(inputs));
    return Finish();
  }
  bool runs_ahead() const override { return true; }

  absl::Status Start(const StepInputs& inputs) override {
    if (under_way_ > 1) return absl::FailedPreconditionError("two steps are under way");
    if (inputs.fed_back && inputs.tokens.size() != last_rows_) {
      return absl::InvalidArgumentError("fed back: another number of tokens than of rows before");
    }
    if (under_way_++ > 0) ++started_ahead;
    last_rows_ = inputs.rows.size();
    told_.push_back(Step(inputs));
    ActByChance();
    return absl::OkStatus();
  }

  absl::Status Finish() override {
    if (under_way_ == 0) return absl::FailedPreconditionError("no step is under way");
    RENGA_RETURN_IF_ERROR(failed_);
    while (done_.empty()) RENGA_RETURN_IF_ERROR(Act());
    ActByChance();
    next_ = std::move(done_.front().next);
    sampled_ = std::move(done_.front().sampled);
    done_.pop_front();
    --under_way_;
    return failed_;
  }

  absl::Status Logits(std::vector<float>* logits) const override {
    EXPECT_EQ(under_way_, 0) << "they are those of a later step";
    return runner_->Logits(logits);
  }
  absl::Span<const int32_t> next() const override { return next_; }
  bool samples() const override { return runner_->samples(); }
  absl::Span<const SampledRow> sampled() const override { return sampled_; }

  // In order with the steps; the copies of pages by chance later.
  absl::Status CopyPages(absl::Span<const PageCopy> copies) override {
    Step step;
    step.copies.assign(copies.begin(), copies.end());
    told_.push_back(std::move(step));
    ActByChance();
    return absl::OkStatus();
  }
  absl::Status ReadPage(int group, int32_t page, std::string* bytes) const override {
    RENGA_RETURN_IF_ERROR(const_cast<LateRunner*>(this)->ActAll());
    return runner_->ReadPage(group, page, bytes);
  }
  absl::Status WritePage(int group, int32_t page, std::string_view bytes) override {
    RENGA_RETURN_IF_ERROR(ActAll());
    return runner_->WritePage(group, page, bytes);
  }
  const plan::Plan& plan() const override { return runner_->plan(); }
  std::string_view device() const override { return "late"; }

  int64_t started_ahead = 0;

 private:
  // One, or copies of pages.
  struct Step {
    Step() = default;
    explicit Step(const StepInputs& inputs)
        : tokens(inputs.tokens.begin(), inputs.tokens.end()),
          positions(inputs.positions.begin(), inputs.positions.end()),
          sequences(inputs.sequences.begin(), inputs.sequences.end()),
          cells(inputs.cells.begin(), inputs.cells.end()),
          pages(inputs.pages.begin(), inputs.pages.end()),
          rows(inputs.rows.begin(), inputs.rows.end()),
          sampling(inputs.sampling.begin(), inputs.sampling.end()),
          sequence_count(inputs.sequence_count),
          fed_back(inputs.fed_back) {
      for (const WindowInputs& of : inputs.windows) {
        windows.push_back(
            {of.window, {of.cells.begin(), of.cells.end()}, {of.pages.begin(), of.pages.end()}});
      }
    }
    struct Window {
      int64_t window;
      std::vector<int32_t> cells, pages;
    };
    std::vector<Window> windows;
    std::vector<int32_t> tokens, positions, sequences, cells, pages, rows;
    std::vector<RowSampling> sampling;
    int64_t sequence_count = 0;
    bool fed_back = false;
    std::vector<PageCopy> copies;
  };

  absl::Status Act() {
    Step step = std::move(told_.front());
    told_.pop_front();
    if (step.tokens.empty()) return runner_->CopyPages(step.copies);
    std::vector<bool> odd(step.tokens.size());
    if (step.fed_back) {
      step.tokens = chosen_;
      for (size_t i = 0; refuses_ && i < odd.size(); ++i) {
        odd[i] = step.tokens[i] < 0 || step.tokens[i] >= runner_->plan().model.vocab;
        if (odd[i]) step.tokens[i] = 0;
      }
    }
    StepInputs inputs;
    inputs.tokens = step.tokens;
    inputs.positions = step.positions;
    inputs.sequences = step.sequences;
    inputs.cells = step.cells;
    inputs.pages = step.pages;
    inputs.rows = step.rows;
    std::vector<WindowInputs> windows;
    for (const Step::Window& of : step.windows) windows.push_back({of.window, of.cells, of.pages});
    inputs.windows = windows;
    inputs.sequence_count = step.sequence_count;
    inputs.sampling = step.sampling;
    RENGA_RETURN_IF_ERROR(runner_->Run(inputs));
    chosen_.assign(runner_->next().begin(), runner_->next().end());
    EXPECT_EQ(chosen_.size(), step.rows.size());
    for (size_t row = 0; row < chosen_.size(); ++row) {
      if (odd[static_cast<size_t>(step.rows[row])]) chosen_[row] = -1;
    }
    done_.push_back({chosen_, {runner_->sampled().begin(), runner_->sampled().end()}});
    return absl::OkStatus();
  }
  absl::Status ActAll() {
    while (!told_.empty()) RENGA_RETURN_IF_ERROR(Act());
    return absl::OkStatus();
  }
  // An error shows where somebody waits.
  void ActByChance() {
    while (failed_.ok() && !told_.empty() && random_() % 2 == 0) failed_ = Act();
  }

  std::unique_ptr<StepRunner> runner_;
  std::mt19937 random_;
  const bool refuses_;
  std::deque<Step> told_;
  struct Done {
    std::vector<int32_t> next;
    std::vector<SampledRow> sampled;
  };
  std::deque<Done> done_;               // of steps that were not finished
  std::vector<int32_t> chosen_, next_;  // of the last step done, and finished
  std::vector<SampledRow> sampled_;     // likewise, finished
  int under_way_ = 0;
  size_t last_rows_ = 0;
  absl::Status failed_;
};

}  // namespace renga
