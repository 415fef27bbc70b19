#include "tests/emulator/device/page_tables.h"

#include <algorithm>
#include <numeric>

#include "ir/base/status.h"
#include "runtime/plan/layout.h"
#include "tests/emulator/schedule.h"

namespace renga::emulator {

PageTables::PageTables(const plan::Plan& plan, uint64_t seed)
    : plan_(plan), page_tokens_(plan.geometry.page_tokens), context_(plan.geometry.context) {
  RandomBits random(seed);
  for (int group = 0; group < plan::GroupsOf(plan); ++group) {
    std::vector<int32_t>& free = free_.emplace_back();
    const int64_t pages = plan::CacheCells(plan, group) / page_tokens_;
    for (int64_t page = 0; page < pages; ++page) free.push_back(static_cast<int32_t>(page));
    for (size_t i = free.size(); i > 1; --i) std::swap(free[i - 1], free[random.Below(i)]);
  }
}

int PageTables::NewSequence() {
  sequences_.emplace_back().tables.resize(free_.size());
  return static_cast<int>(sequences_.size()) - 1;
}

// Of the pages that a token at `position` sees.
int64_t PageTables::FirstPage(int group, int64_t position) const {
  const int64_t window = plan::WindowOf(plan_, group);
  return window == 0 ? 0 : std::max<int64_t>(0, position - window + 1) / page_tokens_;
}

int32_t PageTables::CellOf(const Sequence& sequence, int group, int64_t position) const {
  return static_cast<int32_t>(sequence.tables[group][position / page_tokens_] * page_tokens_ +
                              position % page_tokens_);
}

void PageTables::Drop(int group, int32_t& page) {
  if (page < 0) return;
  Dropped dropped{group, std::vector<int32_t>(static_cast<size_t>(page_tokens_))};
  std::iota(dropped.cells.begin(), dropped.cells.end(), static_cast<int32_t>(page * page_tokens_));
  dropped_.push_back(std::move(dropped));
  // To the far end: a page that comes back at once would hide a stale table.
  free_[group].insert(free_[group].begin(), page);
  page = -1;
}

absl::Status PageTables::Append(int index, int64_t tokens, std::vector<int32_t>* cells) {
  Sequence& sequence = sequences_[index];
  const int64_t begin = sequence.position, end = begin + tokens;
  for (size_t group = 0; group < free_.size(); ++group) {
    std::vector<int32_t>& table = sequence.tables[group];
    const int64_t first =
        std::min(FirstPage(static_cast<int>(group), begin), static_cast<int64_t>(table.size()));
    for (int64_t i = 0; i < first; ++i) Drop(static_cast<int>(group), table[i]);
    const int64_t missing = PagesFor(end) - static_cast<int64_t>(table.size());
    if (end > context_ || missing > static_cast<int64_t>(free_[group].size())) {
      return absl::ResourceExhaustedError(StrCat("context: ", begin, " of ", context_,
                                                 " tokens used, ", tokens, " more do not fit"));
    }
  }
  sequence.position = end;
  for (size_t group = 0; group < free_.size(); ++group) {
    std::vector<int32_t>& table = sequence.tables[group];
    while (static_cast<int64_t>(table.size()) < PagesFor(end)) {
      table.push_back(free_[group].back());
      free_[group].pop_back();
    }
    for (int64_t i = begin; i < end; ++i) {
      cells->push_back(CellOf(sequence, static_cast<int>(group), i));
    }
  }
  return absl::OkStatus();
}

absl::Status PageTables::Truncate(int index, int64_t position) {
  Sequence& sequence = sequences_[index];
  for (size_t group = 0; group < free_.size(); ++group) {
    const int64_t first = FirstPage(static_cast<int>(group), position);
    if (position > 0 && sequence.tables[group][std::min(first, PagesFor(position) - 1)] < 0) {
      return absl::FailedPreconditionError(
          StrCat("truncate: a window does not reach back to ", position, " any more"));
    }
  }
  for (size_t group = 0; group < free_.size(); ++group) {
    Dropped dropped{static_cast<int>(group), {}};
    for (int64_t i = position; i < sequence.position; ++i) {
      if (sequence.tables[group][i / page_tokens_] < 0) continue;
      dropped.cells.push_back(CellOf(sequence, static_cast<int>(group), i));
    }
    dropped_.push_back(std::move(dropped));
    std::vector<int32_t>& table = sequence.tables[group];
    for (; static_cast<int64_t>(table.size()) > PagesFor(position); table.pop_back()) {
      Drop(static_cast<int>(group), table.back());
    }
  }
  sequence.position = position;
  return absl::OkStatus();
}

std::vector<WindowInputs> PageTables::Windows(int sequence, size_t tokens,
                                              absl::Span<const int32_t> cells) const {
  std::vector<WindowInputs> windows;
  for (size_t group = 1; group < free_.size(); ++group) {
    windows.push_back({plan::WindowOf(plan_, static_cast<int>(group)),
                       cells.subspan(group * tokens, tokens),
                       pages(sequence, static_cast<int>(group))});
  }
  return windows;
}

}  // namespace renga::emulator
