// What a run gives a model graph's parameters: one sequence from position 0, in cells and pages in
// order.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "ir/core/eval.h"
#include "ir/core/graph.h"
#include "ir/reference/interpreter.h"

namespace renga {

// Cells of a page, as the nodes say that read through the page table; 1 where none does.
int64_t PageTokens(const Graph& graph);

// Tokens whose logits a run of `tokens` tokens asks for: those at `positions` (empty: all), or the
// last of them where there are more than `max_rows`.
std::vector<int32_t> RowsAsked(int64_t tokens, absl::Span<const int32_t> positions,
                               int64_t max_rows);

// Sizes of T, S, R, L and P for a run of all `ids` at once that asks for the logits of the tokens
// at `positions` (empty: all), as many as the graph gives.
SymbolValues RunSymbols(const Graph& graph, absl::Span<const int32_t> ids,
                        absl::Span<const int32_t> positions = {});

// Of parameter `id`: %tokens, %positions, %cells, %sequences, %pages or %rows, or the cells and
// pages of a window (ir/base/windows.h). InvalidArgument for another.
absl::StatusOr<HostTensor> RunParam(const Graph& graph, ValueId id, absl::Span<const int32_t> ids,
                                    absl::Span<const int32_t> positions = {});

}  // namespace renga
