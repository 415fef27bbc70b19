// Computes only the rows someone asked for.
#pragma once

#include "absl/status/statusor.h"
#include "ir/core/graph.h"
#include "passes/core/ledger.h"

namespace renga {

// Moves gather_rows up through row-wise operators, so that
//   %logits_all = linear(%norm, @w);  %logits = gather_rows(%logits_all, %rows)
// becomes
//   %norm.rows = gather_rows(%norm, %rows);  %logits = linear(%norm.rows, @w)
// and so on upwards. Stops at an operator that is not row-wise, reads several values by row or has
// another user; the ledger says which. The last value keeps the gather's name, a node between
// keeps its own, and the gather is called `<operand>.rows`.
absl::StatusOr<bool> RowsAsked(Graph& graph, Ledger& ledger);

}  // namespace renga
