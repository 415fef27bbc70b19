// Which pages of the caches belong to which sequence. Caches are in groups (plan::Geometry): each
// cache of a group has so many cells, in pages of page_tokens; page p is the cells
// [p * page_tokens, (p+1) * page_tokens) of every cache of the group alike, so one page table
// serves all its layers. Sequences hold pages, some of them together; the cells of a sequence's
// positions are wherever those are. The memory itself is elsewhere: on the host (kv_arena.h) or on
// a GPU. It is written by runs; all that a run needs is known before it.
//
// Group 0 keeps all of a sequence. In a group with a window a sequence holds the pages that a token
// may still see; those behind go back with the next Append, and its table has -1 there.
//
// A page is held by sequences (a reference each), or is idle (nobody holds it, Reuse finds it), or
// is free. A cell is written by its sequence alone: Append takes a page of its own where the last
// one is another's too, and records that the page is to be copied.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/memory/page_pool.h"
#include "runtime/memory/prefix_index.h"
#include "runtime/memory/window_index.h"
#include "runtime/plan/plan.h"

namespace renga {

// Of all cells of a page, in every cache of the group.
struct PageCopy {
  int32_t from = 0, to = 0;
  int32_t group = 0;
  friend bool operator==(const PageCopy&, const PageCopy&) = default;
};

// Not thread-safe. Move-only. Every operation takes time by the pages it touches.
class KvPages {
 public:
  static constexpr int32_t kNoPage = -1;  // in a table, behind a window

  KvPages() : groups_(1) {}  // none
  // For a valid plan.
  explicit KvPages(const plan::Plan& plan);

  // An empty sequence. Ids are small and reused. ResourceExhausted past Geometry::max_sequences.
  absl::StatusOr<int> NewSequence();

  // A sequence with the tokens of this one, all of which must have been computed by runs. It shares
  // all pages and needs none. Errors as NewSequence.
  absl::StatusOr<int> Fork(int sequence);

  // Gives back the pages. The id must be live, here and everywhere.
  void Free(int sequence);

  // Makes the sequence `tokens` longer, at most Geometry::max_step_tokens where there are windows,
  // and appends the cells of the new positions to `cells`: in order those of group 0, then those of
  // each group behind. All or nothing: ResourceExhausted when the context or the pages of a group
  // do not suffice; only pages that no token behind sees have been given back then. The last pages
  // may become others, see TakeCopies. A sequence alone always gets its context: it writes to a
  // page that Reuse can find, after Truncate, by making that one and what is behind it unknown.
  absl::Status Append(int sequence, int64_t tokens, std::vector<int32_t>* cells);

  // Makes the sequence longer by any number of tokens that no run computes: their keys and values
  // are put into its pages, of which there are those that the tokens behind can see. Errors as
  // Append.
  absl::Status Extend(int sequence, int64_t tokens);

  // Shortens the sequence to `position` tokens and gives back the pages no longer needed. It undoes
  // an Append, whether a run has written its cells or not, and the one before too where the last
  // was of one token. OutOfRange unless 0 <= position <= position(sequence). FailedPrecondition
  // where !CanTruncate: a window has moved on, the sequence can only be computed anew.
  absl::Status Truncate(int sequence, int64_t position);

  // Whether all is still there that the token behind so many could see.
  bool CanTruncate(int sequence, int64_t position) const;

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
  // never all tokens: the last one's logits are still to be computed. Of a group with a window it
  // takes what the next token can see; where that is not there any more, the prefix is a shorter
  // one. Returns the tokens it has now, 0 if none are known. FailedPrecondition if it has some
  // already.
  absl::StatusOr<int64_t> Reuse(int sequence, absl::Span<const int32_t> tokens);

  // Tokens the sequence has.
  int64_t position(int sequence) const { return sequences_[sequence].position; }

  // Page numbers in order of position, of equally many in every group; kNoPage behind a window.
  // Valid until the next change.
  absl::Span<const int32_t> pages(int sequence, int group = 0) const {
    return sequences_[sequence].tables[group].pages;
  }
  // Of pages(sequence, group), the first that it holds.
  int64_t first_page(int sequence, int group) const {
    return sequences_[sequence].tables[group].first;
  }

  // Cell of a position below position(sequence) whose page it holds.
  int64_t CellOf(int sequence, int64_t position, int group = 0) const {
    return pages(sequence, group)[position / page_tokens_] * page_tokens_ + position % page_tokens_;
  }

  int groups() const { return static_cast<int>(groups_.size()); }
  // Keys that a token sees in layers of the group; 0: all.
  int64_t window(int group) const { return groups_[group].window; }
  int64_t page_tokens() const { return page_tokens_; }
  int64_t cells(int group = 0) const { return groups_[group].pool.total() * page_tokens_; }

  // Pages that can be had: free and idle ones.
  int64_t free_pages(int group = 0) const {
    const Group& of = groups_[group];
    return of.pool.free() + (group == 0 ? index_.idle_pages() : of.index.idle_pages());
  }

  // The most that a sequence holds at a time on its way to so many tokens.
  int64_t MostPages(int64_t tokens, int group) const;

  // Every page is either free, idle or held, by as many sequences as it counts; tables are as long
  // as positions need; what was published can be found. Internal with what is wrong: our own bug.
  // O(pages and known tokens in use).
  absl::Status CheckInvariants() const;

 private:
  struct Group {
    int64_t window = 0;
    int64_t most_pages = 0;  // of a sequence, with a window
    PagePool pool;
    WindowIndex index;  // with a window
  };
  struct Table {
    std::vector<int32_t> pages;
    int64_t first = 0;  // those before are kNoPage
  };
  struct Sequence {
    bool live = false;
    int64_t position = 0;
    int64_t before = 0;  // position before the last Append
    // So many of its first pages, whole ones, can be found, one behind the other.
    int64_t published = 0;
    std::vector<Table> tables;  // by group
  };
  // What a group has to give for a longer sequence.
  struct Need {
    bool writes_last = false, copies = false;
    int64_t first_new = 0, added = 0;  // place in the table, pages
    int64_t pages() const { return added + (copies ? 1 : 0); }
  };

  int64_t PagesFor(int64_t tokens) const { return (tokens + page_tokens_ - 1) / page_tokens_; }
  int64_t FirstSeen(int group, int64_t position) const;  // by a token there
  absl::Status CheckGrows(const Sequence& grown, int64_t tokens) const;
  Need NeedOf(const Sequence& grown, int group, int64_t tokens, int64_t kept) const;
  absl::Status NoPages(int group, const Need& need) const;
  absl::Status Grow(Sequence& grown, int64_t tokens, int64_t seen_from);
  void GrowIn(Sequence& grown, int group, const Need& need, int64_t pages);
  int32_t TakePage(int group);  // with one reference; free_pages(group) must not be 0
  void Hold(int group, int32_t page);
  void Release(int group, int32_t page);
  void ReleaseBehind(Sequence& sequence, int group, int64_t first);
  void ReleasePages(Sequence& sequence, int64_t keep);
  void MakeUnknown(int32_t page);
  void Forget(int group, int32_t page);
  void AttachWindows(const Sequence& known, int64_t page);
  int64_t LongestWithWindows(absl::Span<const int32_t> known) const;
  absl::Status CheckSequence(size_t id, std::vector<std::vector<int32_t>>* holders) const;
  absl::Status CheckTable(size_t id, int group, std::vector<int32_t>* holders) const;

  int64_t page_tokens_ = 1;
  int64_t context_ = 0;
  int64_t max_sequences_ = 1;
  std::vector<Group> groups_;  // one or more
  PrefixIndex index_;          // of group 0
  std::vector<PageCopy> copies_;
  std::vector<Sequence> sequences_;  // by id
  std::vector<int> free_ids_;
  std::vector<int32_t> removed_;  // scratch of MakeUnknown
};

}  // namespace renga
