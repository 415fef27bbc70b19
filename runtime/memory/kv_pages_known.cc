// Pages that can be found again by their tokens.
#include <algorithm>

#include "ir/base/status.h"
#include "runtime/memory/kv_pages.h"

namespace renga {

absl::Status KvPages::Publish(int sequence, absl::Span<const int32_t> tokens) {
  Sequence& known = sequences_[sequence];
  std::vector<int32_t>& pages = known.tables[0].pages;
  const int64_t count = static_cast<int64_t>(tokens.size());
  if (count > known.position) {
    return absl::InvalidArgumentError(StrCat("publish: expected at most the sequence's ",
                                             known.position, " tokens, got ", count));
  }
  for (; known.published < count / page_tokens_; ++known.published) {
    const int64_t i = known.published;
    const absl::Span<const int32_t> of_page = tokens.subspan(i * page_tokens_, page_tokens_);
    const int32_t before = i == 0 ? PrefixIndex::kNone : pages[i - 1];
    const int32_t own = pages[i];
    const int32_t found = index_.Find(before, of_page);
    if (found != own && index_.Contains(own)) {
      return absl::InvalidArgumentError(
          StrCat("publish: tokens ", i * page_tokens_, "..", (i + 1) * page_tokens_ - 1,
                 ": expected those that page ", own, " was published with, got others"));
    }
    if (found == PrefixIndex::kNone) {
      index_.Insert(before, of_page, own);
    } else if (found != own) {
      // Keeping the duplicate would leave what comes behind it without a place in the index.
      Hold(0, found);
      pages[i] = found;
      Release(0, own);
    }  // else a sequence that it was forked from, or to, published it
    AttachWindows(known, i);
  }
  return absl::OkStatus();
}

// What windows hold of the same tokens as page `page` of the sequence, which is known. Where there
// is another for that already, its own stays its own.
void KvPages::AttachWindows(const Sequence& known, int64_t page) {
  const int32_t of = known.tables[0].pages[page];
  for (int group = 1; group < groups(); ++group) {
    WindowIndex& index = groups_[group].index;
    const int32_t own = known.tables[group].pages[page];
    if (own != kNoPage && !index.Contains(own) && index.Find(of) == WindowIndex::kNone) {
      index.Attach(of, own);
    }
  }
}

// The most of these pages behind which a token finds all that it sees.
int64_t KvPages::LongestWithWindows(absl::Span<const int32_t> known) const {
  int64_t longest = static_cast<int64_t>(known.size());
  // Windows that are nested need one pass each, for what one allows may be too long for another.
  for (bool shortened = true; shortened;) {
    shortened = false;
    for (int group = 1; group < groups(); ++group) {
      const WindowIndex& index = groups_[group].index;
      int64_t at = longest - 1;
      while (at >= FirstSeen(group, longest * page_tokens_) / page_tokens_ && at >= 0) {
        if (index.Find(known[static_cast<size_t>(at)]) != WindowIndex::kNone) {
          --at;
          continue;
        }
        longest = at--;  // none that sees this page
        shortened = true;
      }
    }
  }
  return longest;
}

absl::StatusOr<int64_t> KvPages::Reuse(int sequence, absl::Span<const int32_t> tokens) {
  Sequence& begun = sequences_[sequence];
  if (begun.position != 0) {
    return absl::FailedPreconditionError(
        StrCat("reuse: expected an empty sequence, got one of ", begun.position, " tokens"));
  }
  std::vector<int32_t>& pages = begun.tables[0].pages;
  int32_t page = PrefixIndex::kNone;
  for (int64_t at = 0; at + page_tokens_ < static_cast<int64_t>(tokens.size());
       at += page_tokens_) {
    page = index_.Find(page, tokens.subspan(at, page_tokens_));
    if (page == PrefixIndex::kNone) break;
    pages.push_back(page);
  }
  pages.resize(static_cast<size_t>(LongestWithWindows(pages)));
  begun.published = static_cast<int64_t>(pages.size());
  begun.position = begun.before = begun.published * page_tokens_;
  for (const int32_t known : pages) Hold(0, known);
  for (int group = 1; group < groups(); ++group) {
    Table& table = begun.tables[group];
    table.first = FirstSeen(group, begun.position) / page_tokens_;
    table.pages.assign(pages.size(), kNoPage);
    for (size_t i = static_cast<size_t>(table.first); i < pages.size(); ++i) {
      table.pages[i] = groups_[group].index.Find(pages[i]);
      Hold(group, table.pages[i]);
    }
  }
  return begun.position;
}

// Takes the page, and in group 0 all behind it, out of what can be found, if it is there.
void KvPages::Forget(int group, int32_t page) {
  if (group == 0) {
    if (index_.Contains(page)) MakeUnknown(page);
    return;
  }
  Group& of = groups_[group];
  if (!of.index.Contains(page)) return;
  of.index.Detach(page);
  if (of.pool.references(page) == 0) of.pool.GiveBack(page);
}

void KvPages::MakeUnknown(int32_t page) {
  removed_.clear();
  index_.Remove(page, &removed_);
  for (int32_t removed : removed_) {
    for (int group = 1; group < groups(); ++group) {
      const int32_t own = groups_[group].index.Find(removed);
      if (own != WindowIndex::kNone) Forget(group, own);
    }
    if (groups_[0].pool.references(removed) == 0) groups_[0].pool.GiveBack(removed);
  }
}

}  // namespace renga
