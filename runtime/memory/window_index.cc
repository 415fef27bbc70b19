#include "runtime/memory/window_index.h"

#include "ir/base/status.h"

namespace renga {

void WindowIndex::Attach(int32_t known, int32_t page) {
  if (known >= static_cast<int32_t>(pages_.size())) pages_.resize(known + 1, kNone);
  if (page >= static_cast<int32_t>(nodes_.size())) nodes_.resize(page + 1);
  pages_[known] = page;
  nodes_[page].known = known;
}

void WindowIndex::Detach(int32_t page) {
  if (nodes_[page].idle) SetHeld(page);
  pages_[nodes_[page].known] = kNone;
  nodes_[page].known = kNone;
}

void WindowIndex::SetIdle(int32_t page) {
  Node& node = nodes_[page];
  node.idle = true;
  node.older = newest_;
  node.newer = kNone;
  (newest_ == kNone ? oldest_ : nodes_[newest_].newer) = page;
  newest_ = page;
  ++idle_pages_;
}

void WindowIndex::SetHeld(int32_t page) {
  Node& node = nodes_[page];
  (node.older == kNone ? oldest_ : nodes_[node.older].newer) = node.newer;
  (node.newer == kNone ? newest_ : nodes_[node.newer].older) = node.older;
  node.idle = false;
  node.older = node.newer = kNone;
  --idle_pages_;
}

absl::Status WindowIndex::CheckInvariants(absl::Span<const int32_t> references) const {
  const auto wrong = [](int32_t page, std::string_view what) {
    return absl::InternalError(StrCat("pages of a window: page ", page, ": ", what));
  };
  int64_t idle = 0;
  for (size_t i = 0; i < nodes_.size(); ++i) {
    const int32_t page = static_cast<int32_t>(i);
    const Node& node = nodes_[i];
    if (node.known == kNone) {
      if (node.idle) return wrong(page, "idle and belongs to nothing");
      continue;
    }
    if (Find(node.known) != page) return wrong(page, "what it belongs to has another");
    if (page >= static_cast<int32_t>(references.size())) return wrong(page, "was never used");
    if (node.idle != (references[page] == 0)) return wrong(page, "idle and held, or neither");
    idle += node.idle;
  }
  for (size_t i = 0; i < pages_.size(); ++i) {
    if (pages_[i] != kNone && Known(pages_[i]) != static_cast<int32_t>(i)) {
      return wrong(pages_[i], StrCat("does not belong to ", i, ", which has it"));
    }
  }
  int64_t listed = 0;
  int32_t older = kNone;
  for (int32_t page = oldest_; page != kNone && listed <= idle; page = nodes_[page].newer) {
    if (!nodes_[page].idle || nodes_[page].older != older) return wrong(page, "listed wrongly");
    older = page;
    ++listed;
  }
  if (listed == idle && idle == idle_pages_ && older == newest_) return absl::OkStatus();
  return absl::InternalError(
      StrCat("pages of a window: ", idle, " idle, ", listed, " listed, ", idle_pages_, " counted"));
}

}  // namespace renga
