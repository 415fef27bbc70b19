// What every fusion does: nodes that match a fused operator's decomposition become one node.
#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "ir/core/graph.h"
#include "passes/core/ledger.h"

namespace renga {

// Replaces all matches of the fused operator `op` (passes/core/match.h) by a node of it, which
// takes the place and the name of the last of them. The ledger gets a line for every node that
// could have been the last: matched, with what it replaces, or rejected and why. Linear in nodes.
// Returns whether there was a match.
absl::StatusOr<bool> FuseInto(std::string_view op, Graph& graph, Ledger& ledger);

}  // namespace renga
