// Page tables of sequences whose pages are handed out of order, so that a kernel that takes a
// position for a cell is found out.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "runtime/exec/step_inputs.h"
#include "runtime/plan/plan.h"

namespace renga::emulator {

class PageTables {
 public:
  // For the caches of a valid plan, which outlives this. `seed` says in which order its pages are
  // given.
  PageTables(const plan::Plan& plan, uint64_t seed);

  // A new, empty sequence; sequences are numbered from 0.
  int NewSequence();

  // Makes the sequence `tokens` longer and appends the cells of the new positions to `cells`, those
  // of group 0 first, as KvPages does. Pages that a window has left behind are taken back.
  // ResourceExhausted where the context or the pages do not suffice; nothing else has changed then.
  absl::Status Append(int sequence, int64_t tokens, std::vector<int32_t>* cells);

  // Shortens the sequence to `position` tokens, at most its length. FailedPrecondition where a
  // window has moved on.
  absl::Status Truncate(int sequence, int64_t position);

  // Cells that sequences have had and have no longer, each told once.
  struct Dropped {
    int group;
    std::vector<int32_t> cells;
  };
  std::vector<Dropped> TakeDropped() { return std::exchange(dropped_, {}); }

  int64_t position(int sequence) const { return sequences_[sequence].position; }
  // -1 behind a window.
  absl::Span<const int32_t> pages(int sequence, int group = 0) const {
    return sequences_[sequence].tables[group];
  }

  // Of a step of the sequence that has just been appended, with its `cells`.
  std::vector<WindowInputs> Windows(int sequence, size_t tokens,
                                    absl::Span<const int32_t> cells) const;

 private:
  struct Sequence {
    int64_t position = 0;
    std::vector<std::vector<int32_t>> tables;  // by group
  };
  int64_t PagesFor(int64_t tokens) const { return (tokens + page_tokens_ - 1) / page_tokens_; }
  int64_t FirstPage(int group, int64_t position) const;
  int32_t CellOf(const Sequence& sequence, int group, int64_t position) const;
  void Drop(int group, int32_t& page);

  const plan::Plan& plan_;
  int64_t page_tokens_, context_;
  std::vector<std::vector<int32_t>> free_;  // by group; the next one last
  std::vector<Sequence> sequences_;
  std::vector<Dropped> dropped_;
};

}  // namespace renga::emulator
