// Page tables of sequences whose pages are handed out of order, so that a kernel that takes a
// position for a cell is found out.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "runtime/plan/plan.h"

namespace renga::emulator {

class PageTables {
 public:
  // For the caches of a valid plan. `seed` says in which order its pages are given.
  PageTables(const plan::Plan& plan, uint64_t seed);

  // A new, empty sequence; sequences are numbered from 0.
  int NewSequence();

  // Makes the sequence `tokens` longer and appends the cells of the new positions to `cells`.
  // ResourceExhausted where the context or the pages do not suffice; nothing has changed then.
  absl::Status Append(int sequence, int64_t tokens, std::vector<int32_t>* cells);

  // Shortens the sequence to `position` tokens, at most its length, and appends the cells it no
  // longer has to `cells`.
  void Truncate(int sequence, int64_t position, std::vector<int32_t>* cells);

  int64_t position(int sequence) const { return sequences_[sequence].position; }
  absl::Span<const int32_t> pages(int sequence) const { return sequences_[sequence].pages; }

 private:
  struct Sequence {
    int64_t position = 0;
    std::vector<int32_t> pages;
  };
  int32_t CellOf(const Sequence& sequence, int64_t position) const;

  int64_t page_tokens_, context_;
  std::vector<int32_t> free_;  // the next one last
  std::vector<Sequence> sequences_;
};

}  // namespace renga::emulator
