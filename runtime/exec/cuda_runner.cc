#include "runtime/exec/cuda_runner.h"

#include <algorithm>
#include <utility>

#include "ir/base/status.h"
#include "runtime/exec/model_outputs.h"
#include "runtime/plan/layout.h"

namespace renga {

CudaRunner::CudaRunner(std::unique_ptr<CudaExecutor> executor, std::string name)
    : executor_(std::move(executor)),
      name_(std::move(name)),
      logits_(plan::OutputBuffer(executor_->plan(), "logits")),
      columns_(executor_->plan().buffers[logits_].type.shape[1].value) {}

absl::StatusOr<std::unique_ptr<CudaRunner>> CudaRunner::Create(
    std::shared_ptr<const plan::Plan> plan, cuda::ContextRef context, const CudaOptions& options,
    std::string name) {
  RENGA_RETURN_IF_ERROR(CheckModelOutputs(*plan));
  RENGA_ASSIGN_OR_RETURN(std::unique_ptr<CudaExecutor> executor,
                         CudaExecutor::Create(std::move(plan), std::move(context), options));
  return std::unique_ptr<CudaRunner>(new CudaRunner(std::move(executor), std::move(name)));
}

absl::Status CudaRunner::Run(const StepInputs& inputs) {
  RENGA_RETURN_IF_ERROR(executor_->Run(inputs));
  rows_ = inputs.rows.size();
  return absl::OkStatus();
}

absl::Status CudaRunner::Start(const StepInputs& inputs) {
  RENGA_RETURN_IF_ERROR(executor_->Start(inputs));
  rows_ = inputs.rows.size();
  return absl::OkStatus();
}

absl::Status CudaRunner::Finish() { return executor_->Finish(); }

absl::Status CudaRunner::Logits(std::vector<float>* logits) const {
  const size_t columns = static_cast<size_t>(plan().model.vocab);
  const size_t padded = static_cast<size_t>(columns_);
  logits->resize(rows_ * columns);
  // The output layer may have padded columns behind the vocabulary.
  std::vector<float>& from = columns == padded ? *logits : padded_;
  from.resize(rows_ * padded);
  RENGA_RETURN_IF_ERROR(executor_->Read(
      logits_, {reinterpret_cast<uint8_t*>(from.data()), from.size() * sizeof(float)}));
  if (columns == padded) return absl::OkStatus();
  for (size_t row = 0; row < rows_; ++row) {
    std::copy_n(from.data() + row * padded, columns, logits->data() + row * columns);
  }
  return absl::OkStatus();
}

}  // namespace renga
