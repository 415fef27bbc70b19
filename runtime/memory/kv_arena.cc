#include "runtime/memory/kv_arena.h"

#include <cstring>

#include "ir/base/status.h"
#include "runtime/plan/layout.h"

namespace renga {

absl::StatusOr<KvArena> KvArena::Create(const plan::Plan& plan) {
  KvArena arena(plan);
  uint64_t bytes = 0;
  arena.first_pages_.resize(static_cast<size_t>(arena.groups()));
  for (const plan::Cache& cache : plan.caches) {
    arena.cache_offsets_.push_back(bytes);
    // Cells follow each other in each of their ranges, so pages do too.
    for (const plan::ByteRange& cell : plan::CellRanges(plan, cache, 0)) {
      arena.first_pages_[cache.group].push_back(
          {bytes + cell.offset, cell.bytes * static_cast<uint64_t>(arena.page_tokens())});
    }
    bytes += plan::CacheBytes(plan, cache);
  }
  RENGA_ASSIGN_OR_RETURN(arena.region_, Region::Allocate(bytes, "keys and values"));
  return arena;
}

void KvArena::CopyPage(PageCopy copy) {
  for (const plan::ByteRange& first : first_pages_[copy.group]) {
    uint8_t* pages = region_.data() + first.offset;
    std::memcpy(pages + copy.to * first.bytes, pages + copy.from * first.bytes, first.bytes);
  }
}

uint64_t KvArena::page_bytes(int group) const {
  uint64_t bytes = 0;
  for (const plan::ByteRange& first : first_pages_[group]) bytes += first.bytes;
  return bytes;
}

void KvArena::ReadPage(int group, int32_t page, std::string* bytes) const {
  for (const plan::ByteRange& first : first_pages_[group]) {
    bytes->append(reinterpret_cast<const char*>(region_.data() + first.offset) + page * first.bytes,
                  first.bytes);
  }
}

void KvArena::WritePage(int group, int32_t page, std::string_view bytes) {
  for (const plan::ByteRange& first : first_pages_[group]) {
    std::memcpy(region_.data() + first.offset + page * first.bytes, bytes.data(), first.bytes);
    bytes.remove_prefix(first.bytes);
  }
}

}  // namespace renga
