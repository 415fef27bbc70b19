#include "runtime/exec/one_sequence.h"

#include <numeric>

#include "ir/base/status.h"

namespace renga {

absl::Status OneSequence::Append(KvPages& pages, absl::Span<const int32_t> tokens,
                                 absl::Span<const int32_t> rows,
                                 absl::FunctionRef<absl::Status(const StepInputs&)> run) {
  const int64_t before = pages.position(sequence_);
  cells_.clear();
  RENGA_RETURN_IF_ERROR(pages.Append(sequence_, static_cast<int64_t>(tokens.size()), &cells_));
  positions_.resize(tokens.size());
  std::iota(positions_.begin(), positions_.end(), static_cast<int32_t>(before));
  sequences_.assign(tokens.size(), 0);
  StepInputs inputs;
  inputs.tokens = tokens;
  inputs.positions = positions_;
  inputs.sequences = sequences_;
  inputs.cells = cells_;
  inputs.pages = pages.pages(sequence_);
  inputs.rows = rows;
  const absl::Status status = run(inputs);
  if (!status.ok()) RENGA_RETURN_IF_ERROR(pages.Truncate(sequence_, before));
  return status;
}

}  // namespace renga
