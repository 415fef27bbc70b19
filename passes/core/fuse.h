// What every fusion does: nodes that match a fused operator's decomposition become one node.
#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "ir/core/graph.h"
#include "passes/core/ledger.h"

namespace renga {

// Replaces all matches of the fused operator `op` (passes/core/match.h) by a node of it, which
// takes the place of the last of them and the names of their results. Optional operands in
// `without` stay out of it. The ledger gets a line for every candidate: matched, with what it
// replaces, or rejected and why. Linear in nodes. Returns whether there was a match.
absl::StatusOr<bool> FuseInto(std::string_view op, Graph& graph, Ledger& ledger,
                              absl::Span<const std::string_view> without = {});

// " (q and k are q4_k, v is q6_k: two weight segments)" for a node whose weights differ in type,
// else empty: for the ledger.
std::string SegmentsText(const Graph& graph, const Node& node);

}  // namespace renga
