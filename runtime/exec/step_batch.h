// The inputs of one step, gathered from the sequences that take part in it.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "runtime/exec/step_inputs.h"
#include "runtime/memory/kv_pages.h"

namespace renga {

// Keeps its memory from step to step.
class StepBatch {
 public:
  void Clear();

  // Tokens that have just been appended to `sequence` of `pages`: they lie in `cells`, as Append
  // gives them. Logits are asked for at the last `rows` of them. Returns the number of the first of
  // those rows.
  size_t Add(int sequence, int64_t first_position, absl::Span<const int32_t> tokens,
             absl::Span<const int32_t> cells, int64_t rows);

  bool empty() const { return tokens_.empty(); }
  size_t rows() const { return rows_.size(); }
  int64_t tokens() const { return static_cast<int64_t>(tokens_.size()); }

  // Valid until the next change. `pages` as they are when it is run.
  StepInputs Inputs(const KvPages& pages);

 private:
  std::vector<int> members_;  // sequences, in order
  std::vector<int32_t> tokens_, positions_, sequences_, rows_;
  // By group of pages.
  std::vector<std::vector<int32_t>> cells_;
  std::vector<std::vector<int32_t>> tables_;  // [members_, longest], -1 where there is no page
  std::vector<WindowInputs> windows_;
};

// The cells and page tables of windows for a step of one sequence: of `tokens` tokens that have
// just been appended, in `cells` as Append gives them; those of group 0 are the first `tokens`.
// Valid until the sequence changes.
std::vector<WindowInputs> WindowsOf(const KvPages& pages, int sequence, size_t tokens,
                                    absl::Span<const int32_t> cells);

}  // namespace renga
