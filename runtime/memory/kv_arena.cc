#include "runtime/memory/kv_arena.h"

#include "ir/base/status.h"
#include "runtime/plan/layout.h"

namespace renga {

absl::StatusOr<KvArena> KvArena::Create(const plan::Plan& plan) {
  KvArena arena(plan);
  uint64_t bytes = 0;
  for (const plan::Cache& cache : plan.caches) {
    arena.cache_offsets_.push_back(bytes);
    bytes += plan::AlignUp(static_cast<uint64_t>(arena.cells()) * cache.cell_bytes);
  }
  RENGA_ASSIGN_OR_RETURN(arena.region_, Region::Allocate(bytes, "keys and values"));
  return arena;
}

}  // namespace renga
