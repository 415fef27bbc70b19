// A model that computes logits for one sequence, on whatever device: what the generate loop needs
// and nothing else, so that the reference interpreter can stand in for the executor.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "runtime/exec/row_sampling.h"

namespace renga {

class Forward {
 public:
  virtual ~Forward() = default;

  // Appends `tokens` (1..max_step_tokens() ids) to the sequence. `rows` are at most max_rows()
  // indices into `tokens`; their logits are put into `logits` as [rows.size(), vocab()], row-major,
  // unless it is null.
  // Without rows the logits are not computed. On an error the sequence is as it was:
  // ResourceExhausted when the context is full, OutOfRange for an id or row that does not exist;
  // Unavailable where the device fails, after which it is of no more use.
  virtual absl::Status Run(absl::Span<const int32_t> tokens, absl::Span<const int32_t> rows,
                           std::vector<float>* logits) = 0;

  // The logits of the last Run, as it gives them, for a caller that did not ask for them there.
  // Errors are the device's.
  virtual absl::Status Logits(std::vector<float>* logits) const = 0;

  // What greedy decoding goes on with: for each row of the last Run the lowest id of the largest
  // logit, -1 where a logit is no number to be trusted (NaN or infinite) or all forbid. An id may
  // be vocab() or more where the model's output is padded. Empty where the model does not say;
  // valid until the next Run.
  virtual absl::Span<const int32_t> next() const { return {}; }

  // As StepRunner has them. What the next Run, and it alone, is to choose for its rows.
  virtual bool samples() const { return false; }
  virtual void set_sampling(std::vector<RowSampling>) {}
  virtual absl::Span<const SampledRow> sampled() const { return {}; }

  virtual int64_t position() const = 0;         // tokens in the sequence
  virtual int64_t context() const = 0;          // tokens it can hold
  virtual int64_t max_step_tokens() const = 0;  // of one Run
  virtual int64_t max_rows() const = 0;         // of one Run
  virtual int64_t vocab() const = 0;            // logits of a row

  // Forgets the tokens from `position` on. OutOfRange unless 0 <= position <= position().
  virtual absl::Status Truncate(int64_t position) = 0;

  // "cpu", "reference"; of a GPU also its name, without its maker's: "cuda:0 H100 80GB HBM3".
  virtual std::string_view device() const = 0;
};

}  // namespace renga
