#include "passes/fuse/fuse_attention.h"

#include "passes/core/fuse.h"

namespace renga {

absl::StatusOr<bool> FuseAttention(Graph& graph, Ledger& ledger) {
  return FuseInto("attention", graph, ledger);
}

}  // namespace renga
