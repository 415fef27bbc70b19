#include "passes/fuse/fuse_gate_up.h"

#include "passes/core/fuse.h"

namespace renga {

absl::StatusOr<bool> FuseGateUp(Graph& graph, Ledger& ledger) {
  return FuseInto("gate_up", graph, ledger, /*without=*/{"norm"});
}

}  // namespace renga
