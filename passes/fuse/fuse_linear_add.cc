#include "passes/fuse/fuse_linear_add.h"

#include "passes/core/fuse.h"

namespace renga {

absl::StatusOr<bool> FuseLinearAdd(Graph& graph, Ledger& ledger) {
  return FuseInto("linear_add", graph, ledger);
}

}  // namespace renga
