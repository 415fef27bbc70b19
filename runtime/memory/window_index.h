// Which pages of a group with a window hold what, of those that can be found again: each belongs to
// a page of group 0 that the PrefixIndex knows, and holds the keys and values of the same tokens
// for other layers. Those that nobody holds are idle: they stay here until their memory is needed,
// longest idle first.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "runtime/memory/idle_pages.h"

namespace renga {

// Not thread-safe. Pages are numbers; nothing is kept for those above the highest ever attached.
class WindowIndex {
 public:
  static constexpr int32_t kNone = IdlePages::kNone;

  // The page that belongs to page `known` of group 0; kNone without one.
  int32_t Find(int32_t known) const {
    return known < static_cast<int32_t>(pages_.size()) ? pages_[known] : kNone;
  }
  bool Contains(int32_t page) const { return Known(page) != kNone; }
  // The page of group 0 that it belongs to; kNone where it is not in the index.
  int32_t Known(int32_t page) const {
    return page < static_cast<int32_t>(known_.size()) ? known_[page] : kNone;
  }

  // Neither of the two is in the index. The page is not idle.
  void Attach(int32_t known, int32_t page);
  // Takes out a page that is in the index, idle or not.
  void Detach(int32_t page);

  // For a page in the index that is not idle, and one that is.
  void SetIdle(int32_t page) { idle_.Add(page); }
  void SetHeld(int32_t page) { idle_.Remove(page); }

  int64_t idle_pages() const { return idle_.size(); }
  int32_t LongestIdle() const { return idle_.longest(); }

  // Both directions agree, and exactly the pages that nobody holds are idle: `references` are the
  // holders of each. Internal with what is wrong: our own bug.
  absl::Status CheckInvariants(absl::Span<const int32_t> references) const;

 private:
  std::vector<int32_t> known_;  // by page
  std::vector<int32_t> pages_;  // by page of group 0
  IdlePages idle_;
};

}  // namespace renga
