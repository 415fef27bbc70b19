// A device whose logits the host fetches and samples from, whatever the device could do itself.
#pragma once

#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "runtime/exec/step_runner.h"

namespace renga {

class SamplesOnHost final : public StepRunner {
 public:
  explicit SamplesOnHost(std::unique_ptr<StepRunner> runner) : runner_(std::move(runner)) {}
  absl::Status Run(const StepInputs& inputs) override {
    EXPECT_TRUE(inputs.sampling.empty());
    return runner_->Run(inputs);
  }
  absl::Status Logits(std::vector<float>* logits) const override { return runner_->Logits(logits); }
  absl::Span<const int32_t> next() const override { return runner_->next(); }
  absl::Status CopyPages(absl::Span<const PageCopy> copies) override {
    return runner_->CopyPages(copies);
  }
  const plan::Plan& plan() const override { return runner_->plan(); }
  std::string_view device() const override { return runner_->device(); }

 private:
  std::unique_ptr<StepRunner> runner_;
};

}  // namespace renga
