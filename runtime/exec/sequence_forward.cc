#include "runtime/exec/sequence_forward.h"

#include <numeric>
#include <utility>

#include "ir/base/status.h"
#include "runtime/exec/step_batch.h"

namespace renga {

SequenceForward::SequenceForward(std::unique_ptr<StepRunner> runner)
    : runner_(std::move(runner)),
      pages_(runner_->plan()),
      sequence_(*pages_.NewSequence()) {}  // a valid plan has room for one

absl::Status SequenceForward::Run(absl::Span<const int32_t> tokens, absl::Span<const int32_t> rows,
                                  std::vector<float>* logits) {
  const int64_t before = position();
  cells_.clear();
  RENGA_RETURN_IF_ERROR(pages_.Append(sequence_, static_cast<int64_t>(tokens.size()), &cells_));
  positions_.resize(tokens.size());
  std::iota(positions_.begin(), positions_.end(), static_cast<int32_t>(before));
  sequences_.assign(tokens.size(), 0);
  StepInputs inputs;
  inputs.tokens = tokens;
  inputs.positions = positions_;
  inputs.sequences = sequences_;
  inputs.cells = absl::MakeConstSpan(cells_).first(tokens.size());
  inputs.pages = pages_.pages(sequence_);
  inputs.rows = rows;
  const std::vector<WindowInputs> windows = WindowsOf(pages_, sequence_, tokens.size(), cells_);
  inputs.windows = windows;
  const std::vector<RowSampling> sampling = std::exchange(sampling_, {});
  inputs.sampling = sampling;
  if (const absl::Status status = runner_->Run(inputs); !status.ok()) {
    RENGA_RETURN_IF_ERROR(pages_.Truncate(sequence_, before));
    return status;
  }
  return logits == nullptr ? absl::OkStatus() : Logits(logits);
}

}  // namespace renga
