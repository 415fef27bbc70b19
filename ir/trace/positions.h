// Which tokens' rows a trace holds. A trace may keep some positions of its run only; a value whose
// first axis is the tokens, or the rows of logits asked for, then has rows for those alone. Every
// other value is whole: what every token reads, the caches above all, is needed to tell where an
// error comes from.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "ir/trace/trace.h"
#include "ir/trace/value_error.h"

namespace renga {

// Whether the first axis counts tokens of the run: `token`, or `row`, which are the last of them.
bool RowsAreTokens(const TracedValue& value);

// What of a run's whole value a trace keeps. `value` is as the run computed it, with its data, axes
// and shape; it gets the shape and positions of what is kept, whose bytes are returned (`data` is
// the caller's to set):
//   token  the rows of run.positions, or all
//   row    as it is: the run was asked for the last of run.positions
//   cell   the cells that run.ids were written to, which come first; the others hold nothing
//   else   as it is
std::vector<uint8_t> TakeKept(const TraceRun& run, TracedValue* value);

// Positions that both runs keep, ascending; empty where both keep all. InvalidArgument where there
// is none.
absl::StatusOr<std::vector<int32_t>> CommonPositions(const TraceRun& a, const TraceRun& b);

// CompareValues of the rows that both sides have of `positions`. InvalidArgument, besides its own,
// where there is none.
absl::StatusOr<ValueError> CompareAtPositions(const TraceRun& a_run, const TracedValue& a,
                                              const TraceRun& b_run, const TracedValue& b,
                                              absl::Span<const int32_t> positions, double rtol);

}  // namespace renga
