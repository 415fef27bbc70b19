// Between RowSampling and the sampling kernel of a plan: what its memory holds before, how it is
// launched, and what it has left. The same for every device that runs plans for GPUs.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "runtime/exec/row_sampling.h"
#include "runtime/plan/plan.h"
#include "runtime/plan/sample_args.h"

namespace renga {

class DeviceSampling {
 public:
  // Addresses on the device; `inputs` has SampleMemoryOf(plan).input_bytes, `memory` its bytes,
  // zeros at first.
  struct Places {
    uint64_t inputs = 0, memory = 0, logits = 0, next = 0;
  };

  // Of a plan with a sampler.
  explicit DeviceSampling(const plan::Plan& plan);

  const plan::SampleMemory& memory() const { return memory_; }

  // Begins a run. Puts what the kernel reads into `to`, which has memory().input_bytes: how many of
  // them go to the device's `inputs`. Rows that have too many changes are left out. `asked` has
  // been checked.
  size_t Begin(absl::Span<const RowSampling> asked, uint8_t* to);

  // One after the other, each with grid (memory().blocks, rows); none where all rows were left out.
  // They are the same for as many rows at the same places.
  struct Launch {
    plan::SampleArgs args;
    int64_t rows = 0;
  };
  std::vector<Launch> Launches(const Places& places) const;
  // Of the kernel: without those that were left out.
  int64_t rows() const { return static_cast<int64_t>(rows_); }

  // The bytes that Finish wants of the device's memory.
  size_t result_bytes() const { return rows_ * sizeof(plan::SampleResult); }  // from `results` on
  size_t top_bytes() const;                                                   // from `top` on

  // What was asked for, in order.
  std::vector<SampledRow> Finish(const uint8_t* results, const uint8_t* top) const;

 private:
  struct Asked {
    int32_t row;
    int32_t wants_top;
    int64_t index;  // among the kernel's rows; -1: left out
  };

  plan::SampleMemory memory_;
  int32_t vocab_, columns_;
  std::vector<Asked> asked_;
  size_t rows_ = 0;  // of the kernel
};

}  // namespace renga
