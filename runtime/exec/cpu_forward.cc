#include "runtime/exec/cpu_forward.h"

#include <algorithm>

#include "ir/base/status.h"
#include "runtime/exec/model_outputs.h"
#include "runtime/plan/layout.h"

namespace renga {

CpuForward::CpuForward(std::unique_ptr<Executor> executor, int sequence, int logits, int next)
    : executor_(std::move(executor)),
      sequence_(sequence),
      logits_(logits),
      next_(next),
      max_rows_(plan::SymbolMax(executor_->plan(), "R", max_step_tokens())) {}

absl::StatusOr<std::unique_ptr<CpuForward>> CpuForward::Create(
    std::shared_ptr<const plan::Plan> plan, const ExecutorOptions& options) {
  RENGA_ASSIGN_OR_RETURN(std::unique_ptr<Executor> executor,
                         Executor::Create(std::move(plan), options));
  RENGA_RETURN_IF_ERROR(CheckModelOutputs(executor->plan()));
  const int output = executor->FindOutput("logits"), next = executor->FindOutput("next");
  RENGA_ASSIGN_OR_RETURN(const int sequence, executor->kv().NewSequence());
  return std::unique_ptr<CpuForward>(new CpuForward(std::move(executor), sequence, output, next));
}

absl::Status CpuForward::Run(absl::Span<const int32_t> tokens, absl::Span<const int32_t> rows,
                             std::vector<float>* logits) {
  rows_ = 0;
  RENGA_RETURN_IF_ERROR(
      sequence_.Append(executor_->kv(), tokens, rows,
                       [this](const StepInputs& inputs) { return executor_->Run(inputs); }));
  rows_ = rows.size();
  return logits == nullptr ? absl::OkStatus() : Logits(logits);
}

absl::Status CpuForward::Logits(std::vector<float>* logits) const {
  const size_t columns = static_cast<size_t>(vocab());
  logits->resize(rows_ * columns);
  const cpu::TensorRef output = executor_->output(logits_);
  for (size_t row = 0; row < rows_; ++row) {
    // The output layer may have padded columns behind the vocabulary.
    const float* from = output.as<float>() + static_cast<int64_t>(row) * output.dims[1];
    std::copy_n(from, columns, logits->data() + row * columns);
  }
  return absl::OkStatus();
}

absl::Span<const int32_t> CpuForward::next() const {
  if (next_ < 0) return {};
  return {executor_->output(next_).as<const int32_t>(), rows_};
}

absl::Status CpuForward::Truncate(int64_t position) {
  return executor_->kv().Truncate(sequence_.id(), position);
}

}  // namespace renga
