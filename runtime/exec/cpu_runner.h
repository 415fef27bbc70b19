// A model's plan on the cpu device.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/exec/executor.h"
#include "runtime/exec/step_runner.h"

namespace renga {

class CpuRunner : public StepRunner {
 public:
  // Errors as Executor::Create and CheckModelOutputs.
  static absl::StatusOr<std::unique_ptr<CpuRunner>> Create(std::shared_ptr<const plan::Plan> plan,
                                                           const ExecutorOptions& options);

  absl::Status Run(const StepInputs& inputs) override;
  absl::Status Logits(std::vector<float>* logits) const override;
  absl::Span<const int32_t> next() const override;
  absl::Status CopyPages(absl::Span<const PageCopy> copies) override;
  absl::Status ReadPage(int group, int32_t page, std::string* bytes) const override;
  absl::Status WritePage(int group, int32_t page, std::string_view bytes) override;
  const plan::Plan& plan() const override { return executor_->plan(); }
  std::string_view device() const override { return "cpu"; }
  Executor& executor() { return *executor_; }

 private:
  explicit CpuRunner(std::unique_ptr<Executor> executor);

  std::unique_ptr<Executor> executor_;
  int logits_, next_;  // outputs by index; -1: the plan has no next
  size_t rows_ = 0;    // of the last run
};

}  // namespace renga
