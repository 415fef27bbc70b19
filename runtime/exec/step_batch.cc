#include "runtime/exec/step_batch.h"

#include <algorithm>

namespace renga {

void StepBatch::Clear() {
  members_.clear();
  tokens_.clear();
  positions_.clear();
  sequences_.clear();
  cells_.clear();
  rows_.clear();
}

size_t StepBatch::Add(int sequence, int64_t first_position, absl::Span<const int32_t> tokens,
                      absl::Span<const int32_t> cells, int64_t rows) {
  const int32_t member = static_cast<int32_t>(members_.size());
  members_.push_back(sequence);
  for (size_t i = 0; i < tokens.size(); ++i) {
    positions_.push_back(static_cast<int32_t>(first_position + static_cast<int64_t>(i)));
    sequences_.push_back(member);
  }
  tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
  cells_.insert(cells_.end(), cells.begin(), cells.end());
  const size_t first_row = rows_.size();
  for (int64_t row = 0; row < rows; ++row) {
    rows_.push_back(static_cast<int32_t>(this->tokens() - rows + row));
  }
  return first_row;
}

StepInputs StepBatch::Inputs(const KvPages& pages) {
  size_t longest = 1;
  for (int sequence : members_) longest = std::max(longest, pages.pages(sequence).size());
  table_.assign(members_.size() * longest, -1);
  for (size_t i = 0; i < members_.size(); ++i) {
    const absl::Span<const int32_t> of = pages.pages(members_[i]);
    std::copy(of.begin(), of.end(), table_.begin() + static_cast<int64_t>(i * longest));
  }
  StepInputs inputs;
  inputs.tokens = tokens_;
  inputs.positions = positions_;
  inputs.sequences = sequences_;
  inputs.cells = cells_;
  inputs.pages = table_;
  inputs.sequence_count = static_cast<int64_t>(members_.size());
  inputs.rows = rows_;
  return inputs;
}

}  // namespace renga
