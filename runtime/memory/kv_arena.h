// The paged memory of keys and values on the host.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/memory/kv_pages.h"
#include "runtime/memory/region.h"
#include "runtime/plan/cache_layout.h"
#include "runtime/plan/plan.h"

namespace renga {

// Not thread-safe. Addresses are stable for the arena's life.
class KvArena : public KvPages {
 public:
  KvArena() = default;  // none
  // For a valid plan. ResourceExhausted when the memory is not to be had.
  static absl::StatusOr<KvArena> Create(const plan::Plan& plan);

  // Memory of cache `index` of the plan: [cells, heads, head_dim] with the cells of its group,
  // 64-byte aligned, zero at first.
  uint8_t* cache(int index) const { return region_.data() + cache_offsets_[index]; }

  // Makes one of TakeCopies.
  void CopyPage(PageCopy copy);

  // What a page holds, in every cache of the group: so many bytes.
  uint64_t page_bytes(int group) const;
  void ReadPage(int group, int32_t page, std::string* bytes) const;  // appended
  void WritePage(int group, int32_t page, std::string_view bytes);   // page_bytes() of them

 private:
  explicit KvArena(const plan::Plan& plan) : KvPages(plan) {}

  Region region_;
  std::vector<uint64_t> cache_offsets_;
  // By group, of the region; page p lies p * bytes behind them.
  std::vector<std::vector<plan::ByteRange>> first_pages_;
};

}  // namespace renga
