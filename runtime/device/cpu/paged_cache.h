// K and V caches as the attention kernels see them: cells in pages, a page table a sequence.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "runtime/device/cpu/cache_ops.h"
#include "runtime/device/cpu/float_ops.h"
#include "runtime/device/cpu/kernel.h"
#include "runtime/device/cpu/step_check.h"

namespace renga::cpu {

// Sizes of an attention step, from its tensors.
struct PagedShape {
  int64_t tokens = 0;
  int64_t heads = 0;     // H
  int64_t kv_heads = 0;  // K
  int64_t width = 0;     // D
  int64_t span = 0;      // L
  int64_t group() const { return heads / kv_heads; }
};

// What is fixed at load.
struct PagedCache {
  CacheOps ops;            // of the cache's type
  int64_t cell_bytes = 0;  // one cell's K heads of D
  int64_t head_bytes = 0;
  int64_t page_tokens = 0;

  // Positions that are converted together: 64 rows of 64 floats are half of a first level cache.
  static constexpr int64_t kPositions = 64;
  // Tokens that share a conversion.
  static constexpr int64_t kTokens = 32;

  // Bytes of the cell that holds position j of the sequence with page table row `pages` (P
  // entries); nullptr where there is no page.
  const uint8_t* Cell(const uint8_t* cache, const int32_t* pages, int64_t table_width,
                      int64_t j) const {
    const int64_t page = j / page_tokens;
    if (page >= table_width || pages[page] < 0) return nullptr;
    return cache + (pages[page] * page_tokens + j % page_tokens) * cell_bytes;
  }

  // Converts head `head` of positions [begin, begin + count) to floats, FloatStride(D) apart; rows
  // without a cell become zeros and are reported by `missing`.
  void Load(const uint8_t* cache, const int32_t* pages, int64_t table_width, int64_t head,
            int64_t begin, int64_t count, int64_t width, float* rows, bool* missing) const;

  // Where head `head` of the same positions is stored: rows[0..count); `none` where there is no
  // cell, which `missing` reports.
  void Find(const uint8_t* cache, const int32_t* pages, int64_t table_width, int64_t head,
            int64_t begin, int64_t count, const uint8_t* none, const uint8_t** rows,
            bool* missing) const;
};

// Which operands of a step are the cache [C,K,D], seq i32[T] and pages i32[S,P].
struct PagedOperands {
  size_t cache = 1;
  size_t sequences = 2;
  size_t pages = 3;
};

// Checks these operands of `check`, and attribute page_tokens, against T of `tokens`, and H of
// `heads`.
absl::StatusOr<PagedCache> PreparePagedCache(const StepCheck& check, const PagedOperands& operands,
                                             const plan::Dim& tokens, const plan::Dim& heads);

}  // namespace renga::cpu
