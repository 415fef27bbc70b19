#include "runtime/memory/window_index.h"

#include "ir/base/status.h"

namespace renga {

void WindowIndex::Attach(int32_t known, int32_t page) {
  if (known >= static_cast<int32_t>(pages_.size())) pages_.resize(known + 1, kNone);
  if (page >= static_cast<int32_t>(known_.size())) known_.resize(page + 1, kNone);
  pages_[known] = page;
  known_[page] = known;
}

void WindowIndex::Detach(int32_t page) {
  if (idle_.Contains(page)) idle_.Remove(page);
  pages_[known_[page]] = kNone;
  known_[page] = kNone;
}

absl::Status WindowIndex::CheckInvariants(absl::Span<const int32_t> references) const {
  const auto wrong = [](int32_t page, std::string_view what) {
    return absl::InternalError(StrCat("pages of a window: page ", page, ": ", what));
  };
  int64_t idle = 0;
  for (size_t i = 0; i < known_.size(); ++i) {
    const int32_t page = static_cast<int32_t>(i);
    if (known_[i] == kNone) {
      if (idle_.Contains(page)) return wrong(page, "idle and belongs to nothing");
      continue;
    }
    if (Find(known_[i]) != page) return wrong(page, "what it belongs to has another");
    if (i >= references.size()) return wrong(page, "was never used");
    if (idle_.Contains(page) != (references[i] == 0)) {
      return wrong(page, "idle and held, or neither");
    }
    idle += idle_.Contains(page);
  }
  for (size_t i = 0; i < pages_.size(); ++i) {
    if (pages_[i] != kNone && Known(pages_[i]) != static_cast<int32_t>(i)) {
      return wrong(pages_[i], StrCat("does not belong to ", i, ", which has it"));
    }
  }
  if (idle != idle_.size()) {
    return absl::InternalError(
        StrCat("pages of a window: ", idle, " idle, ", idle_.size(), " counted"));
  }
  return idle_.CheckInvariants();
}

}  // namespace renga
