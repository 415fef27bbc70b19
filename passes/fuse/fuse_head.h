// Fuses the logits with the choice of the next token.
#pragma once

#include "absl/status/statusor.h"
#include "ir/core/graph.h"
#include "passes/core/ledger.h"

namespace renga {

// arg_max(linear(x)) becomes `head`, which gives the logits as well. The norm before it is
// fuse-norm's.
absl::StatusOr<bool> FuseHead(Graph& graph, Ledger& ledger);

}  // namespace renga
