#include "passes/fuse/fuse_head.h"

#include "passes/core/fuse.h"

namespace renga {

absl::StatusOr<bool> FuseHead(Graph& graph, Ledger& ledger) {
  return FuseInto("head", graph, ledger, /*without=*/{"norm"});
}

}  // namespace renga
