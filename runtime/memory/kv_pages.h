// Which pages of the caches belong to which sequence. Each cache has C cells, grouped in pages of
// page_tokens; page p is the cells [p * page_tokens, (p+1) * page_tokens) of every cache alike, so
// one page table serves all layers. A sequence owns pages; the cells of its positions are wherever
// those are. The memory itself is elsewhere: on the host (kv_arena.h) or on a GPU.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/plan/plan.h"

namespace renga {

// Page `from` of every cache is to be what page `to` is from then on.
struct PageCopy {
  int32_t from = 0, to = 0;
  friend bool operator==(const PageCopy&, const PageCopy&) = default;
};

// Not thread-safe.
class KvPages {
 public:
  KvPages() = default;  // none
  // For a valid plan.
  explicit KvPages(const plan::Plan& plan);

  // An empty sequence. Ids are small and reused. ResourceExhausted past Geometry::max_sequences.
  absl::StatusOr<int> NewSequence();

  // Returns the pages. The id must be live, here and below.
  void Free(int sequence);

  // Makes the sequence `tokens` longer and appends the cells of the new positions, in order, to
  // `cells`. All or nothing: ResourceExhausted when the context or the pages do not suffice.
  absl::Status Append(int sequence, int64_t tokens, std::vector<int32_t>* cells);

  // Shortens the sequence to `position` tokens and returns the pages no longer needed. OutOfRange
  // unless 0 <= position <= position(sequence).
  absl::Status Truncate(int sequence, int64_t position);

  // Tokens the sequence holds.
  int64_t position(int sequence) const { return sequences_[sequence].position; }

  // Page numbers in order of position.
  absl::Span<const int32_t> pages(int sequence) const { return sequences_[sequence].pages; }

  // Cell of a position below position(sequence).
  int64_t CellOf(int sequence, int64_t position) const {
    return sequences_[sequence].pages[position / page_tokens_] * page_tokens_ +
           position % page_tokens_;
  }

  int64_t page_tokens() const { return page_tokens_; }
  int64_t cells() const { return total_pages_ * page_tokens_; }
  int64_t free_pages() const {
    return total_pages_ - first_unused_ + static_cast<int64_t>(returned_.size());
  }

  // Every page is either free or owned by one sequence, tables are as long as positions need.
  // Internal with what is wrong: our own bug. O(pages in use).
  absl::Status CheckInvariants() const;

 private:
  struct Sequence {
    bool live = false;
    int64_t position = 0;
    std::vector<int32_t> pages;
  };

  int64_t PagesFor(int64_t tokens) const { return (tokens + page_tokens_ - 1) / page_tokens_; }
  void ReturnPages(Sequence& sequence, int64_t keep);

  int64_t page_tokens_ = 1;
  int64_t total_pages_ = 0;
  int64_t context_ = 0;
  int64_t max_sequences_ = 1;
  // Free pages: those given back, then all from first_unused_ on. Nothing is kept per page that
  // was never used.
  std::vector<int32_t> returned_;
  int64_t first_unused_ = 0;
  std::vector<Sequence> sequences_;  // by id
};

}  // namespace renga
