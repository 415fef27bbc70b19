// What one run of a plan reads, checked before any device sees it.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "runtime/exec/index_rules.h"
#include "runtime/exec/row_sampling.h"
#include "runtime/plan/plan.h"

namespace renga {

// Cells and page tables for the layers that see a window of keys: as those of StepInputs, with
// pages of their group. -1 behind the window too.
struct WindowInputs {
  int64_t window = 0;               // one of the plan's Geometry::windows
  absl::Span<const int32_t> cells;  // [T]
  absl::Span<const int32_t> pages;  // [S, P]
};

// What one run reads; the spans need to live only during the call.
struct StepInputs {
  absl::Span<const int32_t> tokens;        // [T] ids
  absl::Span<const int32_t> positions;     // [T] in the token's sequence
  absl::Span<const int32_t> sequences;     // [T] row of `pages`
  absl::Span<const int32_t> cells;         // [T] cache cell that the token's key and value go to
  absl::Span<const int32_t> pages;         // [S, P] page tables, -1 behind a sequence's last page
  int64_t sequence_count = 1;              // S
  absl::Span<const int32_t> rows;          // [R] tokens whose logits are wanted; may be empty
  absl::Span<const WindowInputs> windows;  // one for each of Geometry::windows, in order
  // The tokens are what the step that was started last chooses at its rows, one for each in their
  // order, and the device knows them: the values of `tokens` are of no account. For
  // StepRunner::Start.
  bool fed_back = false;
  // Rows whose tokens the device may choose, rising; see StepRunner::samples.
  absl::Span<const RowSampling> sampling;
};

// Whether the runtime can bind all symbols of a valid plan and fill all its inputs, which have the
// types that it fills: Unimplemented or InvalidArgument, naming the one that is not so.
absl::Status CheckInputsAreKnown(const plan::Plan& plan);

// Every count and every value against the plan's bounds: OutOfRange or InvalidArgument, naming the
// input and the place. Afterwards no kernel indexes beyond what it may.
absl::Status CheckStepInputs(const plan::Plan& plan, const IndexLimits& limits,
                             const StepInputs& inputs);

// Those of the input of that name: one of StepInputs' fields, or of StepInputs::windows
// (`cells.w512`).
absl::Span<const int32_t> ValuesOf(const StepInputs& inputs, std::string_view name);

// Puts the value of each of the plan's symbols into `sizes`, by their index. The inputs must have
// been checked.
void BindSymbols(const plan::Plan& plan, const StepInputs& inputs, std::vector<int64_t>* sizes);

}  // namespace renga
