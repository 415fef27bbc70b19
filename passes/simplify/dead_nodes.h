// Removes nodes that compute nothing anyone sees.
#pragma once

#include "absl/status/statusor.h"
#include "ir/core/graph.h"
#include "passes/core/ledger.h"

namespace renga {

// Drops every node none of whose results is returned or read by a node that stays. A node that
// writes a cache stays: the verifier has the newest form of the cache returned.
absl::StatusOr<bool> RemoveDeadNodes(Graph& graph, Ledger& ledger);

}  // namespace renga
