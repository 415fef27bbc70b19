#include "runtime/memory/prefix_index.h"

#include "ir/base/status.h"
#include "ir/base/strings.h"

namespace renga {

int32_t PrefixIndex::Find(int32_t before, absl::Span<const int32_t> tokens) const {
  const auto found = pages_.find(Key{before, tokens});
  return found == pages_.end() ? kNone : found->second;
}

void PrefixIndex::Insert(int32_t before, absl::Span<const int32_t> tokens, int32_t page) {
  // Moving nodes leaves their tokens, which keys refer to, where they are.
  if (page >= static_cast<int32_t>(nodes_.size())) nodes_.resize(page + 1);
  Node& node = nodes_[page];
  node.known = true;
  node.before = before;
  node.tokens.assign(tokens.begin(), tokens.end());
  if (before != kNone) {
    node.next = nodes_[before].first_behind;
    if (node.next != kNone) nodes_[node.next].previous = page;
    nodes_[before].first_behind = page;
  }
  pages_.emplace(KeyOf(page), page);
}

void PrefixIndex::UnlinkFromSiblings(int32_t page) {
  const Node& node = nodes_[page];
  if (node.previous != kNone) {
    nodes_[node.previous].next = node.next;
  } else if (node.before != kNone) {
    nodes_[node.before].first_behind = node.next;
  }
  if (node.next != kNone) nodes_[node.next].previous = node.previous;
}

void PrefixIndex::Remove(int32_t page, std::vector<int32_t>* removed) {
  UnlinkFromSiblings(page);
  size_t next = removed->size();
  removed->push_back(page);
  for (; next < removed->size(); ++next) {
    const int32_t gone = (*removed)[next];
    for (int32_t i = nodes_[gone].first_behind; i != kNone; i = nodes_[i].next) {
      removed->push_back(i);
    }
    if (idle_.Contains(gone)) idle_.Remove(gone);
    pages_.erase(KeyOf(gone));
    std::vector<int32_t> tokens = std::move(nodes_[gone].tokens);
    nodes_[gone] = Node();
    // Their memory is used again by the next page of that number.
    nodes_[gone].tokens = std::move(tokens);
  }
}

absl::Status PrefixIndex::CheckInvariants(absl::Span<const int32_t> references,
                                          int64_t page_tokens) const {
  const auto wrong = [](int32_t page, std::string_view what) {
    return absl::InternalError(StrCat("prefix index: page ", page, ": ", what));
  };
  int64_t known = 0, idle = 0, firsts = 0, behind = 0;
  for (int32_t page = 0; page < static_cast<int32_t>(nodes_.size()); ++page) {
    const Node& node = nodes_[page];
    if (!node.known) {
      if (idle_.Contains(page)) return wrong(page, "is idle and cannot be found");
      if (node.first_behind != kNone) return wrong(page, "is not here, but pages behind it are");
      continue;
    }
    ++known;
    if (page >= static_cast<int32_t>(references.size())) return wrong(page, "was never in use");
    if (static_cast<int64_t>(node.tokens.size()) != page_tokens) {
      return wrong(page, StrCat("expected ", page_tokens, " tokens, got ", node.tokens.size()));
    }
    if (Find(node.before, node.tokens) != page) return wrong(page, "its tokens find another");
    const bool is_idle = idle_.Contains(page);
    if (is_idle != (references[page] == 0)) {
      return wrong(
          page, StrCat(is_idle ? "idle" : "not idle", " with ", references[page], " references"));
    }
    idle += is_idle;
    if (node.before == kNone) {
      ++firsts;
    } else if (!Contains(node.before)) {
      return wrong(page, StrCat("the page before it, ", node.before, ", is not here"));
    }
    int32_t previous = kNone;
    for (int32_t i = node.first_behind; i != kNone; previous = i, i = nodes_[i].next) {
      if (nodes_[i].before != page || nodes_[i].previous != previous) {
        return wrong(i, StrCat("is not linked to the page before it, ", page));
      }
      ++behind;
    }
  }
  if (known != pages() || firsts + behind != known) {
    return absl::InternalError(StrCat("prefix index: expected ", pages(), " pages, got ", known,
                                      ", ", firsts, " first ones and ", behind, " behind others"));
  }
  if (idle != idle_.size()) {
    return absl::InternalError(
        StrCat("prefix index: expected ", idle_.size(), " idle pages, got ", idle));
  }
  return idle_.CheckInvariants();
}

}  // namespace renga
