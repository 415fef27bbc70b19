#include "runtime/memory/kv_arena.h"

#include <cstring>

#include "ir/base/status.h"
#include "runtime/plan/layout.h"

namespace renga {

absl::StatusOr<KvArena> KvArena::Create(const plan::Plan& plan) {
  KvArena arena(plan);
  uint64_t bytes = 0;
  for (const plan::Cache& cache : plan.caches) {
    arena.cache_offsets_.push_back(bytes);
    arena.page_bytes_.push_back(static_cast<uint64_t>(arena.page_tokens()) * cache.cell_bytes);
    bytes += plan::AlignUp(static_cast<uint64_t>(arena.cells()) * cache.cell_bytes);
  }
  RENGA_ASSIGN_OR_RETURN(arena.region_, Region::Allocate(bytes, "keys and values"));
  return arena;
}

void KvArena::CopyPage(const PageCopy& copy) {
  for (size_t i = 0; i < cache_offsets_.size(); ++i) {
    uint8_t* pages = region_.data() + cache_offsets_[i];
    std::memcpy(pages + static_cast<uint64_t>(copy.to) * page_bytes_[i],
                pages + static_cast<uint64_t>(copy.from) * page_bytes_[i], page_bytes_[i]);
  }
}

}  // namespace renga
