// Which pages of computed tokens can be found again, and by which tokens: a trie whose nodes are
// pages. A page is found by the page before it, so by all tokens before it, and by its own tokens.
// Those are kept and compared: prompts are untrusted, and no hash stands for them. Pages that
// nobody holds are idle: they stay here until their memory is needed, longest idle first.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "runtime/memory/idle_pages.h"

namespace renga {

// Not thread-safe. Pages are numbers; nothing is kept for those above the highest ever inserted.
class PrefixIndex {
 public:
  static constexpr int32_t kNone = IdlePages::kNone;

  PrefixIndex() = default;
  PrefixIndex(PrefixIndex&&) = default;  // move-only: keys refer to tokens of nodes
  PrefixIndex& operator=(PrefixIndex&&) = default;

  // The page of these tokens behind page `before`, kNone for the first page; kNone if unknown.
  int32_t Find(int32_t before, absl::Span<const int32_t> tokens) const;

  // Makes `page`, which is not in the index, one that Find finds. `before` is in the index or
  // kNone, and no other page has these tokens there. The page is not idle. Copies the tokens.
  void Insert(int32_t before, absl::Span<const int32_t> tokens, int32_t page);

  // Takes out `page`, which is in the index, and all pages behind it: none may be left that cannot
  // be found. Appends them to `removed`, idle ones and others. O(pages removed).
  void Remove(int32_t page, std::vector<int32_t>* removed);

  bool Contains(int32_t page) const {
    return page < static_cast<int32_t>(nodes_.size()) && nodes_[page].known;
  }

  // The page before one that is in the index; kNone if it is a first page.
  int32_t Before(int32_t page) const { return nodes_[page].before; }

  // For a page in the index that is not idle, and one that is.
  void SetIdle(int32_t page) { idle_.Add(page); }
  void SetHeld(int32_t page) { idle_.Remove(page); }

  int64_t pages() const { return static_cast<int64_t>(pages_.size()); }
  int64_t idle_pages() const { return idle_.size(); }

  // The page that has been idle for the longest time; kNone without one.
  int32_t LongestIdle() const { return idle_.longest(); }

  // Each page is found by its tokens, the page before each is there, links agree, and exactly the
  // pages that nobody holds are idle: `references` are the holders of each page number. Internal
  // with what is wrong: our own bug. O(tokens of all pages).
  absl::Status CheckInvariants(absl::Span<const int32_t> references, int64_t page_tokens) const;

 private:
  struct Node {
    bool known = false;
    int32_t before = kNone;
    // The pages behind this one are a list: its first, and the neighbours of each.
    int32_t first_behind = kNone;
    int32_t previous = kNone, next = kNone;
    std::vector<int32_t> tokens;
  };

  struct Key {
    int32_t before;
    absl::Span<const int32_t> tokens;  // of the page's node
    friend bool operator==(const Key& a, const Key& b) {
      return a.before == b.before && a.tokens == b.tokens;
    }
    template <typename H>
    friend H AbslHashValue(H h, const Key& key) {
      return H::combine(std::move(h), key.before, key.tokens);
    }
  };

  Key KeyOf(int32_t page) const { return {nodes_[page].before, nodes_[page].tokens}; }
  void UnlinkFromSiblings(int32_t page);

  std::vector<Node> nodes_;  // by page
  absl::flat_hash_map<Key, int32_t> pages_;
  IdlePages idle_;
};

}  // namespace renga
