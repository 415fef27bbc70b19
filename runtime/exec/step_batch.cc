#include "runtime/exec/step_batch.h"

#include <algorithm>

namespace renga {

void StepBatch::Clear() {
  members_.clear();
  tokens_.clear();
  positions_.clear();
  sequences_.clear();
  for (std::vector<int32_t>& cells : cells_) cells.clear();
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
  const size_t groups = tokens.empty() ? 0 : cells.size() / tokens.size();
  cells_.resize(std::max(cells_.size(), groups));
  for (size_t group = 0; group < groups; ++group) {
    const absl::Span<const int32_t> of = cells.subspan(group * tokens.size(), tokens.size());
    cells_[group].insert(cells_[group].end(), of.begin(), of.end());
  }
  const size_t first_row = rows_.size();
  for (int64_t row = 0; row < rows; ++row) {
    rows_.push_back(static_cast<int32_t>(this->tokens() - rows + row));
  }
  return first_row;
}

StepInputs StepBatch::Inputs(const KvPages& pages) {
  size_t longest = 1;
  for (int sequence : members_) longest = std::max(longest, pages.pages(sequence).size());
  const size_t groups = static_cast<size_t>(pages.groups());
  cells_.resize(groups);
  tables_.resize(groups);
  windows_.clear();
  for (size_t group = 0; group < groups; ++group) {
    std::vector<int32_t>& table = tables_[group];
    table.assign(members_.size() * longest, -1);
    for (size_t i = 0; i < members_.size(); ++i) {
      const absl::Span<const int32_t> of = pages.pages(members_[i], static_cast<int>(group));
      std::copy(of.begin(), of.end(), table.begin() + static_cast<int64_t>(i * longest));
    }
    if (group > 0) {
      windows_.push_back({pages.window(static_cast<int>(group)), cells_[group], table});
    }
  }
  StepInputs inputs;
  inputs.tokens = tokens_;
  inputs.positions = positions_;
  inputs.sequences = sequences_;
  inputs.cells = cells_[0];
  inputs.pages = tables_[0];
  inputs.sequence_count = static_cast<int64_t>(members_.size());
  inputs.rows = rows_;
  inputs.windows = windows_;
  return inputs;
}

std::vector<WindowInputs> WindowsOf(const KvPages& pages, int sequence, size_t tokens,
                                    absl::Span<const int32_t> cells) {
  std::vector<WindowInputs> windows;
  for (int group = 1; group < pages.groups(); ++group) {
    windows.push_back({pages.window(group),
                       cells.subspan(static_cast<size_t>(group) * tokens, tokens),
                       pages.pages(sequence, group)});
  }
  return windows;
}

}  // namespace renga
