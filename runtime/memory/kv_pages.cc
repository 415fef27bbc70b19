#include "runtime/memory/kv_pages.h"

#include <algorithm>
#include <utility>

#include "ir/base/status.h"
#include "ir/base/windows.h"
#include "runtime/plan/layout.h"

namespace renga {

KvPages::KvPages(const plan::Plan& plan)
    : page_tokens_(plan.geometry.page_tokens),
      context_(plan.geometry.context),
      max_sequences_(plan.geometry.max_sequences),
      groups_(static_cast<size_t>(plan::GroupsOf(plan))) {
  // Without caches there is no C, and a cell is only a number.
  const int64_t wanted = PagesFor(context_) * page_tokens_;
  groups_[0].pool = PagePool(plan::SymbolMax(plan, "C", wanted) / page_tokens_);
  for (int group = 1; group < groups(); ++group) {
    Group& of = groups_[group];
    of.window = plan::WindowOf(plan, group);
    of.most_pages = WindowPages(of.window, plan.geometry.max_step_tokens, page_tokens_);
    of.pool = PagePool(plan::CacheCells(plan, group) / page_tokens_);
  }
}

absl::StatusOr<int> KvPages::NewSequence() {
  if (!free_ids_.empty()) {
    const int id = free_ids_.back();
    free_ids_.pop_back();
    sequences_[id].live = true;
    return id;
  }
  if (static_cast<int64_t>(sequences_.size()) >= max_sequences_) {
    return absl::ResourceExhaustedError(
        StrCat("sequences: all ", max_sequences_, " are in use; compile with a larger --max-seqs"));
  }
  Sequence& made = sequences_.emplace_back();
  made.live = true;
  made.tables.resize(groups_.size());
  return static_cast<int>(sequences_.size() - 1);
}

absl::StatusOr<int> KvPages::Fork(int sequence) {
  RENGA_ASSIGN_OR_RETURN(const int id, NewSequence());
  sequences_[id] = sequences_[sequence];
  for (int group = 0; group < groups(); ++group) {
    const Table& table = sequences_[id].tables[group];
    for (size_t i = static_cast<size_t>(table.first); i < table.pages.size(); ++i) {
      Hold(group, table.pages[i]);
    }
  }
  return id;
}

void KvPages::Free(int sequence) {
  Sequence& freed = sequences_[sequence];
  ReleasePages(freed, 0);
  freed.position = freed.before = 0;
  freed.published = 0;
  freed.live = false;
  free_ids_.push_back(sequence);
}

int64_t KvPages::FirstSeen(int group, int64_t position) const {
  const int64_t window = groups_[group].window;
  return window == 0 ? 0 : std::max<int64_t>(0, position - window + 1);
}

int64_t KvPages::MostPages(int64_t tokens, int group) const {
  const int64_t pages = PagesFor(tokens);
  return group == 0 ? pages : std::min(pages, groups_[group].most_pages);
}

absl::Status KvPages::Append(int sequence, int64_t tokens, std::vector<int32_t>* cells) {
  Sequence& grown = sequences_[sequence];
  const int64_t begin = grown.position;
  // So that the Append before can be undone too; after a long one there is no room for that.
  RENGA_RETURN_IF_ERROR(Grow(grown, tokens, tokens > 1 ? begin : std::min(grown.before, begin)));
  if (tokens > 0) grown.before = begin;
  for (int group = 0; group < groups(); ++group) {
    for (int64_t i = begin; i < grown.position; ++i) {
      cells->push_back(static_cast<int32_t>(CellOf(sequence, i, group)));
    }
  }
  return absl::OkStatus();
}

absl::Status KvPages::Extend(int sequence, int64_t tokens) {
  Sequence& grown = sequences_[sequence];
  RENGA_RETURN_IF_ERROR(Grow(grown, tokens, grown.position + tokens));
  grown.before = grown.position;
  return absl::OkStatus();
}

absl::Status KvPages::CheckGrows(const Sequence& grown, int64_t tokens) const {
  if (tokens < 0) {
    return absl::InvalidArgumentError(StrCat("append: expected 0 tokens or more, got ", tokens));
  }
  if (tokens <= context_ - grown.position) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      StrCat("context: ", grown.position, " of ", context_, " tokens used, ", tokens,
             " more do not fit; use a larger context (-c ", grown.position + tokens, " or more)"));
}

// Of the pages from place `kept` on; those before have been given back, or are not taken.
KvPages::Need KvPages::NeedOf(const Sequence& grown, int group, int64_t tokens,
                              int64_t kept) const {
  const Table& table = grown.tables[group];
  const int64_t size = static_cast<int64_t>(table.pages.size());
  Need need;
  need.writes_last = tokens > 0 && grown.position % page_tokens_ != 0 && kept < size;
  need.copies = need.writes_last && groups_[group].pool.references(table.pages.back()) > 1;
  need.first_new = std::max(size, kept);
  need.added = std::max<int64_t>(0, PagesFor(grown.position + tokens) - need.first_new);
  return need;
}

absl::Status KvPages::NoPages(int group, const Need& need) const {
  const int64_t total = groups_[group].pool.total(), window = groups_[group].window;
  return absl::ResourceExhaustedError(
      StrCat("kv pages", window == 0 ? "" : StrCat(" of windows of ", window, " keys"), ": ",
             total - free_pages(group), " of ", total, " pages of ", page_tokens_,
             " tokens used (context ", context_, "), ", need.pages(), " more needed",
             need.copies ? ", one of them to copy a shared page to" : "",
             "; use a larger context (-c) or fewer sequences"));
}

// A token at `seen_from` must find all that it sees; what lies behind that is given back.
absl::Status KvPages::Grow(Sequence& grown, int64_t tokens, int64_t seen_from) {
  RENGA_RETURN_IF_ERROR(CheckGrows(grown, tokens));
  std::vector<Need> needs;
  for (int group = 0; group < groups(); ++group) {
    const int64_t kept = FirstSeen(group, seen_from) / page_tokens_;
    ReleaseBehind(grown, group, kept);
    needs.push_back(NeedOf(grown, group, tokens, kept));
    if (needs.back().pages() > free_pages(group)) return NoPages(group, needs.back());
  }
  for (int group = 0; group < groups(); ++group) {
    GrowIn(grown, group, needs[group], PagesFor(grown.position + tokens));
  }
  grown.position += tokens;
  return absl::OkStatus();
}

void KvPages::GrowIn(Sequence& grown, int group, const Need& need, int64_t pages) {
  Table& table = grown.tables[group];
  if (need.copies) {
    const int32_t last = table.pages.back(), own = TakePage(group);
    copies_.push_back({last, own, group});
    table.pages.back() = own;
    Release(group, last);
  } else if (need.writes_last) {
    // Nobody else holds it. Copying it would keep it known, but needs a page that may not be left.
    Forget(group, table.pages.back());
  }
  if (static_cast<int64_t>(table.pages.size()) < std::min(need.first_new, pages)) {
    table.pages.resize(static_cast<size_t>(std::min(need.first_new, pages)), kNoPage);
    table.first = static_cast<int64_t>(table.pages.size());
  }
  for (int64_t i = 0; i < need.added; ++i) table.pages.push_back(TakePage(group));
}

bool KvPages::CanTruncate(int sequence, int64_t position) const {
  // Of a page that is not full the rest will be written.
  const int64_t last = position % page_tokens_ == 0 ? position : position - 1;
  for (int group = 1; group < groups() && position > 0; ++group) {
    const int64_t needed = std::min(FirstSeen(group, position), last) / page_tokens_;
    if (needed < first_page(sequence, group)) return false;
  }
  return true;
}

absl::Status KvPages::Truncate(int sequence, int64_t position) {
  Sequence& cut = sequences_[sequence];
  if (position < 0 || position > cut.position) {
    return absl::OutOfRangeError(
        StrCat("truncate: expected a position in 0..", cut.position, ", got ", position));
  }
  if (position == cut.position) return absl::OkStatus();
  if (!CanTruncate(sequence, position)) {
    return absl::FailedPreconditionError(
        StrCat("truncate: a token at position ", position, " sees keys that layers with a window ",
               "do not keep any more, at ", cut.position, "; compute the sequence anew"));
  }
  cut.position = position;
  cut.before = std::min(cut.before, position);
  cut.published = std::min(cut.published, position / page_tokens_);
  ReleasePages(cut, PagesFor(position));
  return absl::OkStatus();
}

std::vector<PageCopy> KvPages::TakeCopies() { return std::exchange(copies_, {}); }

int32_t KvPages::TakePage(int group) {
  Group& of = groups_[group];
  // Sequences give back the last page first, so that what has been idle longest has nothing behind
  // it but what was published by others than those who held it.
  if (of.pool.free() == 0) {
    Forget(group, group == 0 ? index_.LongestIdle() : of.index.LongestIdle());
  }
  return of.pool.Take();
}

void KvPages::Hold(int group, int32_t page) {
  if (!groups_[group].pool.Hold(page)) return;
  if (group == 0) {
    index_.SetHeld(page);
  } else {
    groups_[group].index.SetHeld(page);
  }
}

void KvPages::Release(int group, int32_t page) {
  Group& of = groups_[group];
  if (!of.pool.Release(page)) return;
  if (group == 0 && index_.Contains(page)) {
    index_.SetIdle(page);
    return;
  }
  if (group > 0 && of.index.Contains(page)) {
    of.index.SetIdle(page);
    return;
  }
  // No later copy of the group reads it, so nobody needs these any more.
  for (size_t i = copies_.size(); i > 0; --i) {
    if (copies_[i - 1].group != group) continue;
    if (copies_[i - 1].to != page) break;
    copies_.erase(copies_.begin() + static_cast<int64_t>(i - 1));
  }
  of.pool.GiveBack(page);
}

// Those before place `first`.
void KvPages::ReleaseBehind(Sequence& sequence, int group, int64_t first) {
  Table& table = sequence.tables[group];
  first = std::min(first, static_cast<int64_t>(table.pages.size()));
  for (; table.first < first; ++table.first) {
    Release(group, std::exchange(table.pages[static_cast<size_t>(table.first)], kNoPage));
  }
}

// All but the first `keep`.
void KvPages::ReleasePages(Sequence& sequence, int64_t keep) {
  for (int group = 0; group < groups(); ++group) {
    Table& table = sequence.tables[group];
    // Last page first, so that the next one taken is the one before it again, and that no page gets
    // idle before those behind it.
    while (static_cast<int64_t>(table.pages.size()) > keep) {
      if (table.pages.back() != kNoPage) Release(group, table.pages.back());
      table.pages.pop_back();
    }
    table.first = std::min(table.first, keep);
  }
}

}  // namespace renga
