#include "runtime/exec/cpu_forward.h"

#include <algorithm>
#include <numeric>

#include "ir/base/status.h"
#include "runtime/plan/layout.h"

namespace renga {
namespace {

// f32[R,n] with n >= vocab: Run reads row by row what the executor has bound R to.
absl::Status CheckLogits(const plan::Plan& plan) {
  for (const plan::Buffer& buffer : plan.buffers) {
    if (buffer.space == plan::Space::kWeight || buffer.name != "logits") continue;
    const std::vector<plan::Dim>& shape = buffer.type.shape;
    if (buffer.type.dtype == DType::kF32 && shape.size() == 2 && shape[0].symbol >= 0 &&
        plan.symbols[shape[0].symbol].name == "R" && shape[1].symbol < 0 &&
        shape[1].value >= plan.model.vocab) {
      return absl::OkStatus();
    }
    return absl::InvalidArgumentError(StrCat("output logits: expected f32[R,", plan.model.vocab,
                                             "] or wider, got ",
                                             plan::ToString(buffer.type, plan.symbols)));
  }
  return absl::InternalError("output logits has no buffer");  // Validate: every output has one
}

// i32[R], where there is one.
absl::Status CheckNext(const plan::Plan& plan) {
  for (const plan::Buffer& buffer : plan.buffers) {
    if (buffer.space == plan::Space::kWeight || buffer.name != "next") continue;
    const std::string type = plan::ToString(buffer.type, plan.symbols);
    if (type == "i32[R]") return absl::OkStatus();
    return absl::InvalidArgumentError(StrCat("output next: expected i32[R], got ", type));
  }
  return absl::InternalError("output next has no buffer");  // Validate: every output has one
}

}  // namespace

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
  const int output = executor->FindOutput("logits");
  if (output < 0) {
    return absl::InvalidArgumentError(
        StrCat("plan: expected an output logits, got ", StrJoin(executor->plan().outputs, " ")));
  }
  RENGA_RETURN_IF_ERROR(CheckLogits(executor->plan()));
  const int next = executor->FindOutput("next");
  if (next >= 0) RENGA_RETURN_IF_ERROR(CheckNext(executor->plan()));
  RENGA_ASSIGN_OR_RETURN(const int sequence, executor->kv().NewSequence());
  return std::unique_ptr<CpuForward>(new CpuForward(std::move(executor), sequence, output, next));
}

absl::Status CpuForward::Run(absl::Span<const int32_t> tokens, absl::Span<const int32_t> rows,
                             std::vector<float>* logits) {
  KvArena& kv = executor_->kv();
  const int64_t before = kv.position(sequence_);
  rows_ = 0;
  cells_.clear();
  RENGA_RETURN_IF_ERROR(kv.Append(sequence_, static_cast<int64_t>(tokens.size()), &cells_));
  positions_.resize(tokens.size());
  std::iota(positions_.begin(), positions_.end(), static_cast<int32_t>(before));
  sequences_.assign(tokens.size(), 0);
  StepInputs inputs;
  inputs.tokens = tokens;
  inputs.positions = positions_;
  inputs.sequences = sequences_;
  inputs.cells = cells_;
  inputs.pages = kv.pages(sequence_);
  inputs.rows = rows;
  if (absl::Status status = executor_->Run(inputs); !status.ok()) {
    RENGA_RETURN_IF_ERROR(kv.Truncate(sequence_, before));
    return status;
  }
  rows_ = rows.size();
  if (logits != nullptr) Logits(logits);
  return absl::OkStatus();
}

void CpuForward::Logits(std::vector<float>* logits) const {
  const size_t columns = static_cast<size_t>(vocab());
  logits->resize(rows_ * columns);
  const cpu::TensorRef output = executor_->output(logits_);
  for (size_t row = 0; row < rows_; ++row) {
    // The output layer may have padded columns behind the vocabulary.
    const float* from = output.as<float>() + static_cast<int64_t>(row) * output.dims[1];
    std::copy_n(from, columns, logits->data() + row * columns);
  }
}

absl::Span<const int32_t> CpuForward::next() const {
  if (next_ < 0) return {};
  return {executor_->output(next_).as<const int32_t>(), rows_};
}

absl::Status CpuForward::Truncate(int64_t position) {
  return executor_->kv().Truncate(sequence_, position);
}

}  // namespace renga
