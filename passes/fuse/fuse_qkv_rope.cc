#include "passes/fuse/fuse_qkv_rope.h"

#include "passes/core/fuse.h"

namespace renga {

absl::StatusOr<bool> FuseQkvRope(Graph& graph, Ledger& ledger) {
  return FuseInto("qkv_rope", graph, ledger, /*without=*/{"norm"});
}

}  // namespace renga
