// A model's plan on a GPU.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/exec/cuda_executor.h"
#include "runtime/exec/step_runner.h"

namespace renga {

class CudaRunner : public StepRunner {
 public:
  // Errors as CudaExecutor::Create and CheckModelOutputs. `name` is what device() says.
  static absl::StatusOr<std::unique_ptr<CudaRunner>> Create(std::shared_ptr<const plan::Plan> plan,
                                                            cuda::ContextRef context,
                                                            const CudaOptions& options,
                                                            std::string name);

  absl::Status Run(const StepInputs& inputs) override;
  bool runs_ahead() const override { return executor_->runs_ahead(); }
  absl::Status Start(const StepInputs& inputs) override;
  absl::Status Finish() override;
  absl::Status Logits(std::vector<float>* logits) const override;
  absl::Span<const int32_t> next() const override { return executor_->next(); }
  bool samples() const override { return executor_->samples(); }
  absl::Span<const SampledRow> sampled() const override { return executor_->sampled(); }
  absl::Status CopyPages(absl::Span<const PageCopy> copies) override {
    return executor_->CopyPages(copies);
  }
  absl::Status ReadPage(int group, int32_t page, std::string* bytes) const override {
    return executor_->ReadPage(group, page, bytes);
  }
  absl::Status WritePage(int group, int32_t page, std::string_view bytes) override {
    return executor_->WritePage(group, page, bytes);
  }
  const plan::Plan& plan() const override { return executor_->plan(); }
  std::string_view device() const override { return name_; }

  CudaExecutor& executor() { return *executor_; }
  const CudaExecutor& executor() const { return *executor_; }

 private:
  CudaRunner(std::unique_ptr<CudaExecutor> executor, std::string name);

  std::unique_ptr<CudaExecutor> executor_;
  std::string name_;
  int32_t logits_;   // the buffer
  int64_t columns_;  // of the logits, at least the model's vocab
  size_t rows_ = 0;  // of the run that was started last
  mutable std::vector<float> padded_;
};

}  // namespace renga
