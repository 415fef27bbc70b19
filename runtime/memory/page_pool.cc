#include "runtime/memory/page_pool.h"

#include "ir/base/status.h"

namespace renga {

int32_t PagePool::Take() {
  if (returned_.empty() && first_unused_ < total_) {
    references_.push_back(1);
    return static_cast<int32_t>(first_unused_++);
  }
  const int32_t page = returned_.back();
  returned_.pop_back();
  references_[page] = 1;
  return page;
}

absl::Status PagePool::Check(absl::Span<const int32_t> holders,
                             const std::vector<bool>& kept) const {
  if (first_unused_ > total_ || static_cast<int64_t>(references_.size()) != first_unused_) {
    return absl::InternalError(StrCat("kv pages: ", first_unused_, " of ", total_,
                                      " pages used, references of ", references_.size()));
  }
  std::vector<bool> free(references_.size());
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
    if (const int states = free[page] + (holders[page] > 0 || kept[page]); states != 1) {
      return absl::InternalError(
          StrCat("kv pages: page ", page, " is ", states == 0 ? "lost" : "free and in use"));
    }
  }
  return absl::OkStatus();
}

}  // namespace renga
