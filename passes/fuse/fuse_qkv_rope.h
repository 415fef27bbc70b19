// Fuses what stands between a layer's normed input and its attention.
#pragma once

#include "absl/status/statusor.h"
#include "ir/core/graph.h"
#include "passes/core/ledger.h"

namespace renga {

// Three projections of one value, their biases, head norms, RoPE and the writes of K and V become
// `qkv_rope`. The three weights may be of different types. The norm before them is fuse-norm's.
absl::StatusOr<bool> FuseQkvRope(Graph& graph, Ledger& ledger);

}  // namespace renga
