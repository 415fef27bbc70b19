// What a run reads that goes on with one sequence, the same on every device.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "runtime/exec/step_inputs.h"
#include "runtime/memory/kv_pages.h"

namespace renga {

// Keeps the memory of its inputs from run to run.
class OneSequence {
 public:
  explicit OneSequence(int sequence) : sequence_(sequence) {}

  // Appends `tokens` to the sequence and calls `run`. On an error the sequence is as it was.
  absl::Status Append(KvPages& pages, absl::Span<const int32_t> tokens,
                      absl::Span<const int32_t> rows,
                      absl::FunctionRef<absl::Status(const StepInputs&)> run);

  int id() const { return sequence_; }

 private:
  int sequence_;
  std::vector<int32_t> positions_, sequences_, cells_;
};

}  // namespace renga
