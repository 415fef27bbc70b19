// One sequence on a GPU.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/exec/cuda_executor.h"
#include "runtime/exec/forward.h"
#include "runtime/exec/one_sequence.h"
#include "runtime/memory/kv_pages.h"

namespace renga {

class CudaForward : public Forward {
 public:
  // Errors as CudaExecutor::Create and CheckModelOutputs. `name` is what device() says.
  static absl::StatusOr<std::unique_ptr<CudaForward>> Create(std::shared_ptr<const plan::Plan> plan,
                                                             cuda::ContextRef context,
                                                             const CudaOptions& options,
                                                             std::string name);

  absl::Status Run(absl::Span<const int32_t> tokens, absl::Span<const int32_t> rows,
                   std::vector<float>* logits) override;
  absl::Status Logits(std::vector<float>* logits) const override;
  absl::Span<const int32_t> next() const override;
  int64_t position() const override { return pages_.position(sequence_.id()); }
  int64_t context() const override { return executor_->plan().geometry.context; }
  int64_t max_step_tokens() const override { return executor_->plan().geometry.max_step_tokens; }
  int64_t max_rows() const override { return max_rows_; }
  int64_t vocab() const override { return executor_->plan().model.vocab; }
  absl::Status Truncate(int64_t position) override {
    return pages_.Truncate(sequence_.id(), position);
  }
  std::string_view device() const override { return name_; }

  const CudaExecutor& executor() const { return *executor_; }

 private:
  CudaForward(std::unique_ptr<CudaExecutor> executor, KvPages pages, int sequence,
              std::string name);

  std::unique_ptr<CudaExecutor> executor_;
  KvPages pages_;
  OneSequence sequence_;
  std::string name_;
  int32_t logits_, next_;  // buffers; -1: the plan has none
  int64_t columns_;        // of the logits, at least vocab()
  int64_t max_rows_;
  size_t rows_ = 0;  // of the last run
  mutable std::vector<float> padded_;
};

}  // namespace renga
