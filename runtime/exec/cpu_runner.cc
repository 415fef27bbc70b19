#include "runtime/exec/cpu_runner.h"

#include <algorithm>
#include <utility>

#include "ir/base/status.h"
#include "runtime/exec/model_outputs.h"

namespace renga {

CpuRunner::CpuRunner(std::unique_ptr<Executor> executor)
    : executor_(std::move(executor)),
      logits_(executor_->FindOutput("logits")),
      next_(executor_->FindOutput("next")) {}

absl::StatusOr<std::unique_ptr<CpuRunner>> CpuRunner::Create(std::shared_ptr<const plan::Plan> plan,
                                                             const ExecutorOptions& options) {
  RENGA_ASSIGN_OR_RETURN(std::unique_ptr<Executor> executor,
                         Executor::Create(std::move(plan), options));
  RENGA_RETURN_IF_ERROR(CheckModelOutputs(executor->plan()));
  return std::unique_ptr<CpuRunner>(new CpuRunner(std::move(executor)));
}

absl::Status CpuRunner::Run(const StepInputs& inputs) {
  rows_ = 0;
  RENGA_RETURN_IF_ERROR(executor_->Run(inputs));
  rows_ = inputs.rows.size();
  return absl::OkStatus();
}

absl::Status CpuRunner::Logits(std::vector<float>* logits) const {
  const size_t columns = static_cast<size_t>(plan().model.vocab);
  logits->resize(rows_ * columns);
  const cpu::TensorRef output = executor_->output(logits_);
  for (size_t row = 0; row < rows_; ++row) {
    // The output layer may have padded columns behind the vocabulary.
    const float* from = output.as<float>() + static_cast<int64_t>(row) * output.dims[1];
    std::copy_n(from, columns, logits->data() + row * columns);
  }
  return absl::OkStatus();
}

absl::Span<const int32_t> CpuRunner::next() const {
  if (next_ < 0) return {};
  return {executor_->output(next_).as<const int32_t>(), rows_};
}

absl::Status CpuRunner::CopyPages(absl::Span<const PageCopy> copies) {
  for (const PageCopy& copy : copies) executor_->kv().CopyPage(copy);
  return absl::OkStatus();
}

absl::Status CpuRunner::ReadPage(int group, int32_t page, std::string* bytes) const {
  executor_->kv().ReadPage(group, page, bytes);
  return absl::OkStatus();
}

absl::Status CpuRunner::WritePage(int group, int32_t page, std::string_view bytes) {
  RENGA_RETURN_IF_ERROR(CheckPageBytes(executor_->kv().page_bytes(group), bytes.size()));
  executor_->kv().WritePage(group, page, bytes);
  return absl::OkStatus();
}

}  // namespace renga
