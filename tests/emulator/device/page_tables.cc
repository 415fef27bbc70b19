#include "tests/emulator/device/page_tables.h"

#include <utility>

#include "ir/base/status.h"
#include "runtime/plan/layout.h"
#include "tests/emulator/schedule.h"

namespace renga::emulator {

PageTables::PageTables(const plan::Plan& plan, uint64_t seed)
    : page_tokens_(plan.geometry.page_tokens), context_(plan.geometry.context) {
  const int64_t pages = plan::CacheCells(plan) / page_tokens_;
  for (int64_t page = 0; page < pages; ++page) free_.push_back(static_cast<int32_t>(page));
  RandomBits random(seed);
  for (size_t i = free_.size(); i > 1; --i) std::swap(free_[i - 1], free_[random.Below(i)]);
}

int PageTables::NewSequence() {
  sequences_.emplace_back();
  return static_cast<int>(sequences_.size()) - 1;
}

int32_t PageTables::CellOf(const Sequence& sequence, int64_t position) const {
  return static_cast<int32_t>(sequence.pages[position / page_tokens_] * page_tokens_ +
                              position % page_tokens_);
}

absl::Status PageTables::Append(int index, int64_t tokens, std::vector<int32_t>* cells) {
  Sequence& sequence = sequences_[index];
  const int64_t end = sequence.position + tokens;
  const int64_t pages = (end + page_tokens_ - 1) / page_tokens_;
  const int64_t missing = pages - static_cast<int64_t>(sequence.pages.size());
  if (end > context_ || missing > static_cast<int64_t>(free_.size())) {
    return absl::ResourceExhaustedError(StrCat("context: ", sequence.position, " of ", context_,
                                               " tokens used, ", tokens, " more do not fit"));
  }
  for (int64_t i = 0; i < missing; ++i) {
    sequence.pages.push_back(free_.back());
    free_.pop_back();
  }
  for (; sequence.position < end; ++sequence.position) {
    cells->push_back(CellOf(sequence, sequence.position));
  }
  return absl::OkStatus();
}

void PageTables::Truncate(int index, int64_t position, std::vector<int32_t>* cells) {
  Sequence& sequence = sequences_[index];
  for (int64_t i = position; i < sequence.position; ++i) cells->push_back(CellOf(sequence, i));
  sequence.position = position;
  const int64_t pages = (position + page_tokens_ - 1) / page_tokens_;
  while (static_cast<int64_t>(sequence.pages.size()) > pages) {
    // To the far end: a page that comes back at once would hide a stale table.
    free_.insert(free_.begin(), sequence.pages.back());
    sequence.pages.pop_back();
  }
}

}  // namespace renga::emulator
