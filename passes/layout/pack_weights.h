// Gives every product the layout of its weight that the target multiplies fastest.
#pragma once

#include "absl/status/statusor.h"
#include "ir/core/graph.h"
#include "passes/core/ledger.h"

namespace renga {

// For every weight that operators multiply by (OperandDef::product): a packed weight
// (`@w.packed = pack(@w) {layout=rows8}`) in its place, where the table in pack_weights.cc says
// that this pays for its type. The weight itself stays for its other users; where it has any, it is
// not packed, because it would be in memory twice. Each decision is a choice in the ledger, with
// its reason.
absl::StatusOr<bool> PackWeights(Graph& graph, Ledger& ledger);

// The same for GPUs, whose products read matrices in layout mma alone: every one of a type that the
// layout has, also where something else reads the weight in the file's layout.
absl::StatusOr<bool> PackWeightsForGpu(Graph& graph, Ledger& ledger);

}  // namespace renga
