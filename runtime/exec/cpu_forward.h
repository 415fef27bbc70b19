// One sequence on the cpu device.
#pragma once

#include <memory>
#include <vector>

#include "runtime/exec/executor.h"
#include "runtime/exec/forward.h"
#include "runtime/exec/one_sequence.h"

namespace renga {

class CpuForward : public Forward {
 public:
  // Errors as Executor::Create; InvalidArgument when the plan has no output logits f32[R,V] with at
  // least the model's vocab columns, or an output next that is not i32[R].
  static absl::StatusOr<std::unique_ptr<CpuForward>> Create(std::shared_ptr<const plan::Plan> plan,
                                                            const ExecutorOptions& options);

  absl::Status Run(absl::Span<const int32_t> tokens, absl::Span<const int32_t> rows,
                   std::vector<float>* logits) override;
  absl::Status Logits(std::vector<float>* logits) const override;
  absl::Span<const int32_t> next() const override;
  int64_t position() const override { return executor_->kv().position(sequence_.id()); }
  int64_t context() const override { return executor_->plan().geometry.context; }
  int64_t max_step_tokens() const override { return executor_->plan().geometry.max_step_tokens; }
  int64_t max_rows() const override { return max_rows_; }
  int64_t vocab() const override { return executor_->plan().model.vocab; }
  absl::Status Truncate(int64_t position) override;
  std::string_view device() const override { return "cpu"; }

 private:
  CpuForward(std::unique_ptr<Executor> executor, int sequence, int logits, int next);

  std::unique_ptr<Executor> executor_;
  OneSequence sequence_;
  int logits_;  // output index
  int next_;    // likewise; -1: the plan has none
  int64_t max_rows_;
  size_t rows_ = 0;  // of the last run
};

}  // namespace renga
