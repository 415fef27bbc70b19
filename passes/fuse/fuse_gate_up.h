// Fuses the two projections of a gated MLP with their activation.
#pragma once

#include "absl/status/statusor.h"
#include "ir/core/graph.h"
#include "passes/core/ledger.h"

namespace renga {

// glu(linear(x, gate), linear(x, up)) becomes `gate_up` where both read the same x and nothing else
// reads their results. The two weights may be of different types.
absl::StatusOr<bool> FuseGateUp(Graph& graph, Ledger& ledger);

}  // namespace renga
