#include "runtime/memory/idle_pages.h"

#include <algorithm>

#include "ir/base/strings.h"

namespace renga {

void IdlePages::Add(int32_t page) {
  if (page >= static_cast<int32_t>(nodes_.size())) nodes_.resize(page + 1);
  nodes_[page] = {true, newest_, kNone};
  (newest_ == kNone ? oldest_ : nodes_[newest_].newer) = page;
  newest_ = page;
  ++size_;
}

void IdlePages::Remove(int32_t page) {
  Node& node = nodes_[page];
  (node.older == kNone ? oldest_ : nodes_[node.older].newer) = node.newer;
  (node.newer == kNone ? newest_ : nodes_[node.newer].older) = node.older;
  node = Node();
  --size_;
}

absl::Status IdlePages::CheckInvariants() const {
  const int64_t idle =
      std::count_if(nodes_.begin(), nodes_.end(), [](const Node& node) { return node.idle; });
  int64_t listed = 0;
  int32_t older = kNone;
  for (int32_t page = oldest_; page != kNone && listed <= idle; page = nodes_[page].newer) {
    if (!nodes_[page].idle || nodes_[page].older != older) {
      return absl::InternalError(StrCat("idle pages: page ", page, ": is listed wrongly"));
    }
    older = page;
    ++listed;
  }
  if (listed == idle && idle == size_ && older == newest_) return absl::OkStatus();
  return absl::InternalError(
      StrCat("idle pages: expected ", size_, ", got ", idle, ", ", listed, " of them listed"));
}

}  // namespace renga
