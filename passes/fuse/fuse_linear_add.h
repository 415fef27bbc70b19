// Fuses a residual sum into the projection before it.
#pragma once

#include "absl/status/statusor.h"
#include "ir/core/graph.h"
#include "passes/core/ledger.h"

namespace renga {

// add(residual, linear(x)) becomes `linear_add` where nothing else reads the linear layer's result.
absl::StatusOr<bool> FuseLinearAdd(Graph& graph, Ledger& ledger);

}  // namespace renga
