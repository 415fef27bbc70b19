#include "runtime/memory/kv_pages.h"

#include <algorithm>
#include <utility>

#include "ir/base/status.h"
#include "runtime/plan/layout.h"

namespace renga {

KvPages::KvPages(const plan::Plan& plan)
    : page_tokens_(plan.geometry.page_tokens),
      context_(plan.geometry.context),
      max_sequences_(plan.geometry.max_sequences) {
  // Without caches there is no C, and a cell is only a number.
  const int64_t wanted = PagesFor(context_) * page_tokens_;
  total_pages_ = plan::SymbolMax(plan, "C", wanted) / page_tokens_;
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
  sequences_.push_back({.live = true});
  return static_cast<int>(sequences_.size() - 1);
}

absl::StatusOr<int> KvPages::Fork(int sequence) {
  RENGA_ASSIGN_OR_RETURN(const int id, NewSequence());
  sequences_[id] = sequences_[sequence];
  for (int32_t page : sequences_[id].pages) Hold(page);
  return id;
}

void KvPages::Free(int sequence) {
  Sequence& freed = sequences_[sequence];
  ReleasePages(freed, 0);
  freed.position = 0;
  freed.published = 0;
  freed.live = false;
  free_ids_.push_back(sequence);
}

absl::Status KvPages::Append(int sequence, int64_t tokens, std::vector<int32_t>* cells) {
  Sequence& grown = sequences_[sequence];
  if (tokens < 0) {
    return absl::InvalidArgumentError(StrCat("append: expected 0 tokens or more, got ", tokens));
  }
  if (tokens > context_ - grown.position) {
    return absl::ResourceExhaustedError(StrCat(
        "context: ", grown.position, " of ", context_, " tokens used, ", tokens,
        " more do not fit; use a larger context (-c ", grown.position + tokens, " or more)"));
  }
  const bool writes_last = tokens > 0 && grown.position % page_tokens_ != 0;
  const int32_t last = writes_last ? grown.pages.back() : PrefixIndex::kNone;
  const bool copy = writes_last && references_[last] > 1;
  const int64_t added =
      PagesFor(grown.position + tokens) - static_cast<int64_t>(grown.pages.size());
  const int64_t needed = added + (copy ? 1 : 0);
  if (needed > free_pages()) {
    return absl::ResourceExhaustedError(
        StrCat("kv pages: ", total_pages_ - free_pages(), " of ", total_pages_, " pages of ",
               page_tokens_, " tokens used (context ", context_, "), ", needed, " more needed",
               copy ? ", one of them to copy a shared page to" : "",
               "; use a larger context (-c) or fewer sequences"));
  }
  if (copy) {
    const int32_t own = TakePage();
    copies_.push_back({last, own});
    grown.pages.back() = own;
    Release(last);
  } else if (writes_last && index_.Contains(last)) {
    // Nobody else holds it. Copying it would keep it known, but needs a page that may not be left.
    MakeUnknown(last);
  }
  for (int64_t i = 0; i < added; ++i) grown.pages.push_back(TakePage());
  const int64_t begin = grown.position;
  grown.position += tokens;
  for (int64_t i = begin; i < grown.position; ++i) {
    cells->push_back(static_cast<int32_t>(CellOf(sequence, i)));
  }
  return absl::OkStatus();
}

absl::Status KvPages::Truncate(int sequence, int64_t position) {
  Sequence& cut = sequences_[sequence];
  if (position < 0 || position > cut.position) {
    return absl::OutOfRangeError(
        StrCat("truncate: expected a position in 0..", cut.position, ", got ", position));
  }
  cut.position = position;
  cut.published = std::min(cut.published, position / page_tokens_);
  ReleasePages(cut, PagesFor(position));
  return absl::OkStatus();
}

std::vector<PageCopy> KvPages::TakeCopies() { return std::exchange(copies_, {}); }

absl::Status KvPages::Publish(int sequence, absl::Span<const int32_t> tokens) {
  Sequence& known = sequences_[sequence];
  const int64_t count = static_cast<int64_t>(tokens.size());
  if (count > known.position) {
    return absl::InvalidArgumentError(StrCat("publish: expected at most the sequence's ",
                                             known.position, " tokens, got ", count));
  }
  for (; known.published < count / page_tokens_; ++known.published) {
    const int64_t i = known.published;
    const absl::Span<const int32_t> of_page = tokens.subspan(i * page_tokens_, page_tokens_);
    const int32_t before = i == 0 ? PrefixIndex::kNone : known.pages[i - 1];
    const int32_t own = known.pages[i];
    const int32_t found = index_.Find(before, of_page);
    if (found == own) continue;  // a sequence that it was forked from, or to, published it
    if (index_.Contains(own)) {
      return absl::InvalidArgumentError(
          StrCat("publish: tokens ", i * page_tokens_, "..", (i + 1) * page_tokens_ - 1,
                 ": expected those that page ", own, " was published with, got others"));
    }
    if (found == PrefixIndex::kNone) {
      index_.Insert(before, of_page, own);
      continue;
    }
    // Keeping the duplicate would leave what comes behind it without a place in the index.
    Hold(found);
    known.pages[i] = found;
    Release(own);
  }
  return absl::OkStatus();
}

absl::StatusOr<int64_t> KvPages::Reuse(int sequence, absl::Span<const int32_t> tokens) {
  Sequence& begun = sequences_[sequence];
  if (begun.position != 0) {
    return absl::FailedPreconditionError(
        StrCat("reuse: expected an empty sequence, got one of ", begun.position, " tokens"));
  }
  int32_t page = PrefixIndex::kNone;
  while (begun.position + page_tokens_ < static_cast<int64_t>(tokens.size())) {
    page = index_.Find(page, tokens.subspan(begun.position, page_tokens_));
    if (page == PrefixIndex::kNone) break;
    Hold(page);
    begun.pages.push_back(page);
    begun.position += page_tokens_;
    ++begun.published;
  }
  return begun.position;
}

int32_t KvPages::TakePage() {
  if (returned_.empty() && first_unused_ < total_pages_) {
    references_.push_back(1);
    return static_cast<int32_t>(first_unused_++);
  }
  // Sequences give back the last page first, so that what has been idle longest has nothing behind
  // it but what was published by others than those who held it.
  if (returned_.empty()) MakeUnknown(index_.LongestIdle());
  const int32_t page = returned_.back();
  returned_.pop_back();
  references_[page] = 1;
  return page;
}

void KvPages::Hold(int32_t page) {
  if (references_[page]++ == 0) index_.SetHeld(page);
}

void KvPages::Release(int32_t page) {
  if (--references_[page] > 0) return;
  if (index_.Contains(page)) {
    index_.SetIdle(page);
    return;
  }
  // No later copy reads it, so nobody needs these any more.
  while (!copies_.empty() && copies_.back().to == page) copies_.pop_back();
  returned_.push_back(page);
}

void KvPages::ReleasePages(Sequence& sequence, int64_t keep) {
  // Last page first, so that the next one taken is the one before it again, and that no page gets
  // idle before those behind it.
  while (static_cast<int64_t>(sequence.pages.size()) > keep) {
    Release(sequence.pages.back());
    sequence.pages.pop_back();
  }
}

void KvPages::MakeUnknown(int32_t page) {
  removed_.clear();
  index_.Remove(page, &removed_);
  for (int32_t removed : removed_) {
    if (references_[removed] == 0) returned_.push_back(removed);
  }
}

absl::Status KvPages::CheckSequences(std::vector<int32_t>* holders) const {
  std::vector<int32_t> seen_in(first_unused_, -1);  // sequence
  std::vector<bool> dead(sequences_.size());
  for (int id : free_ids_) {
    if (id < 0 || id >= static_cast<int>(dead.size()) || dead[id]) {
      return absl::InternalError(StrCat("kv pages: free id ", id, " does not exist or is twice"));
    }
    dead[id] = true;
  }
  for (size_t i = 0; i < sequences_.size(); ++i) {
    const Sequence& sequence = sequences_[i];
    const auto wrong = [&](std::string_view what) {
      return absl::InternalError(StrCat("kv pages: sequence ", i, ": ", what));
    };
    if (sequence.live == dead[i]) return wrong("is live and free, or neither");
    if (!sequence.live && sequence.position != 0) return wrong("is free and has tokens");
    if (static_cast<int64_t>(sequence.pages.size()) != PagesFor(sequence.position)) {
      return wrong(StrCat("expected ", PagesFor(sequence.position), " pages for ",
                          sequence.position, " tokens, got ", sequence.pages.size()));
    }
    if (sequence.published > sequence.position / page_tokens_) {
      return wrong(
          StrCat(sequence.published, " pages published of ", sequence.position, " tokens"));
    }
    int32_t before = PrefixIndex::kNone;
    for (size_t j = 0; j < sequence.pages.size(); before = sequence.pages[j], ++j) {
      const int32_t page = sequence.pages[j];
      if (page < 0 || page >= first_unused_) {
        return wrong(StrCat("expected a page 0..", first_unused_ - 1, ", got ", page));
      }
      if (seen_in[page] == static_cast<int32_t>(i))
        return wrong(StrCat("has page ", page, " twice"));
      seen_in[page] = static_cast<int32_t>(i);
      ++(*holders)[page];
      if (static_cast<int64_t>(j) >= sequence.published) continue;
      if (!index_.Contains(page) || index_.Before(page) != before) {
        return wrong(StrCat("page ", page, " was published and cannot be found"));
      }
    }
  }
  return absl::OkStatus();
}

absl::Status KvPages::CheckInvariants() const {
  if (first_unused_ > total_pages_ || static_cast<int64_t>(references_.size()) != first_unused_) {
    return absl::InternalError(StrCat("kv pages: ", first_unused_, " of ", total_pages_,
                                      " pages used, references of ", references_.size()));
  }
  std::vector<int32_t> holders(first_unused_, 0);
  RENGA_RETURN_IF_ERROR(CheckSequences(&holders));
  RENGA_RETURN_IF_ERROR(index_.CheckInvariants(references_, page_tokens_));
  std::vector<bool> free(first_unused_);
  for (int32_t page : returned_) {
    if (page < 0 || page >= first_unused_ || free[page]) {
      return absl::InternalError(
          StrCat("kv pages: free page ", page, " does not exist or is free twice"));
    }
    free[page] = true;
  }
  for (int32_t page = 0; page < first_unused_; ++page) {
    if (references_[page] != holders[page]) {
      return absl::InternalError(StrCat("kv pages: page ", page, ": counts ", references_[page],
                                        " holders, has ", holders[page]));
    }
    if (const int states = free[page] + (holders[page] > 0 || index_.Contains(page)); states != 1) {
      return absl::InternalError(
          StrCat("kv pages: page ", page, " is ", states == 0 ? "lost" : "free and in use"));
    }
  }
  for (const PageCopy& copy : copies_) {
    if (std::min(copy.from, copy.to) < 0 || std::max(copy.from, copy.to) >= first_unused_ ||
        copy.from == copy.to) {
      return absl::InternalError(StrCat("kv pages: copy from page ", copy.from, " to ", copy.to));
    }
  }
  return absl::OkStatus();
}

}  // namespace renga
