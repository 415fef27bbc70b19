// A model that computes logits for one sequence, on whatever device: what the generate loop needs
// and nothing else, so that the reference interpreter can stand in for the executor.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"

namespace renga {

class Forward {
 public:
  virtual ~Forward() = default;

  // Appends `tokens` (1..max_step_tokens() ids) to the sequence. `rows` are indices into `tokens`;
  // their logits are put into `logits` as [rows.size(), vocab()], row-major. Without rows the
  // logits are not computed. On an error the sequence is as it was: ResourceExhausted when the
  // context is full, OutOfRange for an id or row that does not exist.
  virtual absl::Status Run(absl::Span<const int32_t> tokens, absl::Span<const int32_t> rows,
                           std::vector<float>* logits) = 0;

  virtual int64_t position() const = 0;         // tokens in the sequence
  virtual int64_t context() const = 0;          // tokens it can hold
  virtual int64_t max_step_tokens() const = 0;  // of one Run
  virtual int64_t vocab() const = 0;            // logits of a row

  // Forgets the tokens from `position` on. OutOfRange unless 0 <= position <= position().
  virtual absl::Status Truncate(int64_t position) = 0;

  virtual std::string_view device() const = 0;  // "cpu", "reference"
};

}  // namespace renga
