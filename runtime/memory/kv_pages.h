// Which pages of the caches belong to which sequence. Each cache has C cells, grouped in pages of
// page_tokens; page p is the cells [p * page_tokens, (p+1) * page_tokens) of every cache alike, so
// one page table serves all layers. Sequences hold pages, some of them together; the cells of a
// sequence's positions are wherever those are. The memory itself is elsewhere: on the host
// (kv_arena.h) or on a GPU. It is written by runs; all that a run needs is known before it.
//
// A page is held by sequences (a reference each), or is idle (nobody holds it, Reuse finds it), or
// is free. A cell is written by its sequence alone: Append takes a page of its own where the last
// one is another's too, and records that the page is to be copied.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/memory/prefix_index.h"
#include "runtime/plan/plan.h"

namespace renga {

// Of all cells of a page, in every cache.
struct PageCopy {
  int32_t from = 0, to = 0;
  friend bool operator==(const PageCopy&, const PageCopy&) = default;
};

// Not thread-safe. Move-only. Every operation takes time by the pages it touches.
class KvPages {
 public:
  KvPages() = default;  // none
  // For a valid plan.
  explicit KvPages(const plan::Plan& plan);

  // An empty sequence. Ids are small and reused. ResourceExhausted past Geometry::max_sequences.
  absl::StatusOr<int> NewSequence();

  // A sequence with the tokens of this one, all of which must have been computed by runs. It shares
  // all pages and needs none. Errors as NewSequence.
  absl::StatusOr<int> Fork(int sequence);

  // Gives back the pages. The id must be live, here and everywhere.
  void Free(int sequence);

  // Makes the sequence `tokens` longer and appends the cells of the new positions, in order, to
  // `cells`. All or nothing: ResourceExhausted when the context or the pages do not suffice. The
  // last page may become another one, see TakeCopies. A sequence alone always gets its context: it
  // writes to a page that Reuse can find, after Truncate, by making that one and what is behind it
  // unknown.
  absl::Status Append(int sequence, int64_t tokens, std::vector<int32_t>* cells);

  // Shortens the sequence to `position` tokens and gives back the pages no longer needed. It undoes
  // an Append, whether a run has written its cells or not. OutOfRange unless
  // 0 <= position <= position(sequence).
  absl::Status Truncate(int sequence, int64_t position);

  // What is to be copied before the next run, one after another in this order: a page may be read
  // by one copy and written by the next. Each is returned once.
  std::vector<PageCopy> TakeCopies();

  // Lets Reuse find the whole pages of `tokens`: the sequence's first ones, all computed by runs.
  // Call it again when there are more; what was published costs nothing then. Where another
  // sequence has published the same tokens, this one goes on with that one's pages: pages(sequence)
  // may change, what they hold is the same tokens. Then the duplicate is free. What a sequence has
  // published or reused stays known while it holds it. InvalidArgument for more tokens than the
  // sequence has, or when one of its pages was published with other ones.
  absl::Status Publish(int sequence, absl::Span<const int32_t> tokens);

  // Gives an empty sequence the pages of the longest known prefix of `tokens`, whole pages and
  // never all tokens: the last one's logits are still to be computed. Returns the tokens it has
  // now, 0 if none are known. FailedPrecondition if it has some already.
  absl::StatusOr<int64_t> Reuse(int sequence, absl::Span<const int32_t> tokens);

  // Tokens the sequence has.
  int64_t position(int sequence) const { return sequences_[sequence].position; }

  // Page numbers in order of position. Valid until the next change.
  absl::Span<const int32_t> pages(int sequence) const { return sequences_[sequence].pages; }

  // Cell of a position below position(sequence).
  int64_t CellOf(int sequence, int64_t position) const {
    return sequences_[sequence].pages[position / page_tokens_] * page_tokens_ +
           position % page_tokens_;
  }

  int64_t page_tokens() const { return page_tokens_; }
  int64_t cells() const { return total_pages_ * page_tokens_; }

  // Pages that can be had: free and idle ones.
  int64_t free_pages() const {
    return total_pages_ - first_unused_ + static_cast<int64_t>(returned_.size()) +
           index_.idle_pages();
  }

  // Every page is either free, idle or held, by as many sequences as it counts; tables are as long
  // as positions need; what was published can be found. Internal with what is wrong: our own bug.
  // O(pages and known tokens in use).
  absl::Status CheckInvariants() const;

 private:
  struct Sequence {
    bool live = false;
    int64_t position = 0;
    // So many of its first pages, whole ones, can be found, one behind the other.
    int64_t published = 0;
    std::vector<int32_t> pages;
  };

  int64_t PagesFor(int64_t tokens) const { return (tokens + page_tokens_ - 1) / page_tokens_; }
  int32_t TakePage();  // with one reference; free_pages() must not be 0
  void Hold(int32_t page);
  void Release(int32_t page);
  void ReleasePages(Sequence& sequence, int64_t keep);
  void MakeUnknown(int32_t page);
  absl::Status CheckSequences(std::vector<int32_t>* holders) const;

  int64_t page_tokens_ = 1;
  int64_t total_pages_ = 0;
  int64_t context_ = 0;
  int64_t max_sequences_ = 1;
  // Free pages: those given back, then all from first_unused_ on. Nothing is kept per page that
  // was never used.
  std::vector<int32_t> returned_;
  int64_t first_unused_ = 0;
  std::vector<int32_t> references_;  // by page, below first_unused_
  PrefixIndex index_;
  std::vector<PageCopy> copies_;
  std::vector<Sequence> sequences_;  // by id
  std::vector<int> free_ids_;
  std::vector<int32_t> removed_;  // scratch of MakeUnknown
};

}  // namespace renga
