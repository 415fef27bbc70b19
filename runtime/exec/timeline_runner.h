// A device whose calls are noted in a timeline.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/exec/step_runner.h"
#include "runtime/exec/timeline.h"

namespace renga {

// Another runner, to everybody else: `start` and `wait` are the two halves of a run, `run` is all
// of one, `logits` and `pages` are what they say.
class TimelineRunner : public StepRunner {
 public:
  // The timeline must outlive it.
  TimelineRunner(std::unique_ptr<StepRunner> runner, Timeline* timeline)
      : runner_(std::move(runner)), timeline_(timeline) {}

  absl::Status Run(const StepInputs& inputs) override;
  bool runs_ahead() const override { return runner_->runs_ahead(); }
  absl::Status Start(const StepInputs& inputs) override;
  absl::Status Finish() override;
  absl::Status Logits(std::vector<float>* logits) const override;
  absl::Span<const int32_t> next() const override { return runner_->next(); }
  bool samples() const override { return runner_->samples(); }
  absl::Span<const SampledRow> sampled() const override { return runner_->sampled(); }
  absl::Status CopyPages(absl::Span<const PageCopy> copies) override;
  absl::Status ReadPage(int group, int32_t page, std::string* bytes) const override;
  absl::Status WritePage(int group, int32_t page, std::string_view bytes) override;
  const plan::Plan& plan() const override { return runner_->plan(); }
  std::string_view device() const override { return runner_->device(); }

 private:
  std::unique_ptr<StepRunner> runner_;
  Timeline* timeline_;
  int64_t started_ = 0, finished_ = 0;
};

}  // namespace renga
