// Pages that nobody holds, in the order in which they became idle.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"

namespace renga {

// Not thread-safe. Pages are numbers; nothing is kept for those above the highest ever added. Each
// operation but the last takes the same time whatever the number of pages.
class IdlePages {
 public:
  static constexpr int32_t kNone = -1;  // no page

  // Of a page that is not in it, and of one that is.
  void Add(int32_t page);
  void Remove(int32_t page);

  bool Contains(int32_t page) const {
    return page < static_cast<int32_t>(nodes_.size()) && nodes_[page].idle;
  }
  int64_t size() const { return size_; }
  // The page that has been idle for the longest time; kNone without one.
  int32_t longest() const { return oldest_; }

  // Links agree, and all that is in it is listed. Internal with what is wrong: our own bug.
  absl::Status CheckInvariants() const;

 private:
  struct Node {
    bool idle = false;
    int32_t older = kNone, newer = kNone;
  };

  std::vector<Node> nodes_;  // by page
  int32_t oldest_ = kNone, newest_ = kNone;
  int64_t size_ = 0;
};

}  // namespace renga
