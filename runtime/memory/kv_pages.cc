#include "runtime/memory/kv_pages.h"

#include <algorithm>

#include "absl/container/flat_hash_set.h"
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
  for (size_t i = 0; i < sequences_.size(); ++i) {
    if (sequences_[i].live) continue;
    sequences_[i].live = true;
    return static_cast<int>(i);
  }
  if (static_cast<int64_t>(sequences_.size()) >= max_sequences_) {
    return absl::ResourceExhaustedError(
        StrCat("sequences: all ", max_sequences_, " are in use; compile with a larger --max-seqs"));
  }
  sequences_.push_back({true, 0, {}});
  return static_cast<int>(sequences_.size() - 1);
}

void KvPages::Free(int sequence) {
  Sequence& freed = sequences_[sequence];
  ReturnPages(freed, 0);
  freed.position = 0;
  freed.live = false;
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
  const int64_t needed =
      PagesFor(grown.position + tokens) - static_cast<int64_t>(grown.pages.size());
  if (needed > free_pages()) {
    return absl::ResourceExhaustedError(
        StrCat("kv pages: ", total_pages_ - free_pages(), " of ", total_pages_, " pages of ",
               page_tokens_, " tokens used (context ", context_, "), ", needed,
               " more needed; use a larger context (-c) or fewer sequences"));
  }
  for (int64_t i = 0; i < needed; ++i) {
    if (returned_.empty()) {
      grown.pages.push_back(static_cast<int32_t>(first_unused_++));
    } else {
      grown.pages.push_back(returned_.back());
      returned_.pop_back();
    }
  }
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
  ReturnPages(cut, PagesFor(position));
  return absl::OkStatus();
}

void KvPages::ReturnPages(Sequence& sequence, int64_t keep) {
  // Last page first, so that the next one taken is the one before it again.
  while (static_cast<int64_t>(sequence.pages.size()) > keep) {
    returned_.push_back(sequence.pages.back());
    sequence.pages.pop_back();
  }
}

absl::Status KvPages::CheckInvariants() const {
  absl::flat_hash_set<int32_t> seen;
  const auto take = [&](int32_t page, std::string_view owner) -> absl::Status {
    if (page < 0 || page >= first_unused_) {
      return absl::InternalError(
          StrCat("kv arena: ", owner, ": expected a page 0..", first_unused_ - 1, ", got ", page));
    }
    if (!seen.insert(page).second) {
      return absl::InternalError(StrCat("kv arena: page ", page, " of ", owner, " is held twice"));
    }
    return absl::OkStatus();
  };
  for (int32_t page : returned_) RENGA_RETURN_IF_ERROR(take(page, "the free list"));
  for (size_t i = 0; i < sequences_.size(); ++i) {
    const Sequence& sequence = sequences_[i];
    const std::string name = StrCat("sequence ", i);
    for (int32_t page : sequence.pages) RENGA_RETURN_IF_ERROR(take(page, name));
    if (static_cast<int64_t>(sequence.pages.size()) != PagesFor(sequence.position)) {
      return absl::InternalError(StrCat("kv arena: ", name, ": expected ",
                                        PagesFor(sequence.position), " pages for ",
                                        sequence.position, " tokens, got ", sequence.pages.size()));
    }
    if (!sequence.live && sequence.position != 0) {
      return absl::InternalError(StrCat("kv arena: ", name, " is free and holds tokens"));
    }
  }
  if (static_cast<int64_t>(seen.size()) != first_unused_ || first_unused_ > total_pages_) {
    return absl::InternalError(StrCat("kv arena: expected ", first_unused_, " of ", total_pages_,
                                      " pages accounted for, got ", seen.size()));
  }
  return absl::OkStatus();
}

}  // namespace renga
