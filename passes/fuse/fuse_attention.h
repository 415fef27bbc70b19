// Fuses scores, softmax and weighted values into one node.
#pragma once

#include "absl/status/statusor.h"
#include "ir/core/graph.h"
#include "passes/core/ledger.h"

namespace renga {

// attn_values(masked_softmax(attn_scores(...))) becomes `attention` where nothing else reads scores
// or probabilities and all of them walk the same pages.
absl::StatusOr<bool> FuseAttention(Graph& graph, Ledger& ledger);

}  // namespace renga
