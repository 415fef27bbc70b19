// Numbers of the pages of one group of caches: which are free, and by how many sequences each of
// the others is held. Whether a page that nobody holds is free or kept for later, the caller says.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"

namespace renga {

// Not thread-safe. Nothing is kept per page that was never used.
class PagePool {
 public:
  PagePool() = default;  // of none
  explicit PagePool(int64_t total) : total_(total) {}

  int64_t total() const { return total_; }
  int64_t free() const { return total_ - first_unused_ + static_cast<int64_t>(returned_.size()); }

  // A free one, now held once. There must be one.
  int32_t Take();
  // Whether nobody held it before.
  bool Hold(int32_t page) { return references_[page]++ == 0; }
  // Whether nobody holds it any more: then it is to be given back, or kept.
  bool Release(int32_t page) { return --references_[page] == 0; }
  void GiveBack(int32_t page) { returned_.push_back(page); }

  int32_t references(int32_t page) const { return references_[page]; }
  // Of all pages that were ever used.
  absl::Span<const int32_t> references() const { return references_; }

  // Each page is counted as often as `holders` says, by page, and is one of held, kept (by `kept`)
  // and free. Internal with what is wrong.
  template <typename Kept>
  absl::Status CheckInvariants(absl::Span<const int32_t> holders, const Kept& kept) const {
    std::vector<bool> is_kept(references_.size());
    for (size_t i = 0; i < is_kept.size(); ++i) is_kept[i] = kept(static_cast<int32_t>(i));
    return Check(holders, is_kept);
  }

 private:
  absl::Status Check(absl::Span<const int32_t> holders, const std::vector<bool>& kept) const;

  int64_t total_ = 0;
  // Free pages: those given back, then all from first_unused_ on.
  std::vector<int32_t> returned_;
  int64_t first_unused_ = 0;
  std::vector<int32_t> references_;  // by page, below first_unused_
};

}  // namespace renga
