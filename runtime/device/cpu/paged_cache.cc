#include "runtime/device/cpu/paged_cache.h"

#include <algorithm>

#include "ir/base/status.h"
#include "ir/base/strings.h"

namespace renga::cpu {

void PagedCache::Load(const uint8_t* cache, const int32_t* pages, int64_t table_width, int64_t head,
                      int64_t begin, int64_t count, int64_t width, float* rows,
                      bool* missing) const {
  // A head's rows lie too far apart for the processor to foresee them.
  constexpr int64_t kAhead = 8, kLineBytes = 64;
  const int64_t stride = FloatStride(width);
  for (int64_t i = 0; i < count;) {
    // The cells of one page follow each other.
    const int64_t here = std::min(count - i, page_tokens - (begin + i) % page_tokens);
    const uint8_t* cell = Cell(cache, pages, table_width, begin + i);
    const uint8_t* next = Cell(cache, pages, table_width, begin + i + here);
    std::fill_n(missing + i, here, cell == nullptr);
    if (cell == nullptr) std::fill_n(rows + i * stride, here * stride, 0.0f);
    for (int64_t r = 0; cell != nullptr && r < here; ++r) {
      const int64_t ahead = r + kAhead;
      const uint8_t* soon = ahead < here ? cell + ahead * cell_bytes : next;
      if (soon != nullptr && ahead >= here) soon += (ahead - here) % page_tokens * cell_bytes;
      for (int64_t at = 0; soon != nullptr && at < head_bytes; at += kLineBytes) {
        __builtin_prefetch(soon + head * head_bytes + at);
      }
      ops.unpack(cell + r * cell_bytes + head * head_bytes, width, rows + (i + r) * stride);
    }
    i += here;
  }
}

void PagedCache::Find(const uint8_t* cache, const int32_t* pages, int64_t table_width, int64_t head,
                      int64_t begin, int64_t count, const uint8_t* none, const uint8_t** rows,
                      bool* missing) const {
  for (int64_t i = 0; i < count;) {
    const int64_t here = std::min(count - i, page_tokens - (begin + i) % page_tokens);
    const uint8_t* cell = Cell(cache, pages, table_width, begin + i);
    for (int64_t r = 0; r < here; ++r, ++i) {
      missing[i] = cell == nullptr;
      rows[i] = cell == nullptr ? none : cell + r * cell_bytes + head * head_bytes;
    }
  }
}

absl::StatusOr<PagedCache> PreparePagedCache(const StepCheck& check, const PagedOperands& operands,
                                             const plan::Dim& tokens, const plan::Dim& heads) {
  PagedCache paged;
  const auto [cache_at, sequences_at, pages_at] = operands;
  RENGA_RETURN_IF_ERROR(CheckCache(check, cache_at));
  RENGA_RETURN_IF_ERROR(check.InType(sequences_at, {DType::kI32}, 1));
  RENGA_RETURN_IF_ERROR(check.InType(pages_at, {DType::kI32}, 2));
  RENGA_RETURN_IF_ERROR(check.SameDim("seq", check.In(sequences_at), 0, "the tokens", tokens));
  RENGA_ASSIGN_OR_RETURN(paged.page_tokens, check.Int("page_tokens"));
  if (paged.page_tokens < 1 || paged.page_tokens > INT32_MAX) {
    return check.Error(
        StrCat("attribute page_tokens is ", paged.page_tokens, ", expected 1 to 2147483647"));
  }
  const plan::TensorType& cache = check.In(cache_at);
  RENGA_ASSIGN_OR_RETURN(const int64_t kv_heads, check.ConstDim(cache_at, 1));
  RENGA_ASSIGN_OR_RETURN(const int64_t width, check.ConstDim(cache_at, 2));
  if (heads.symbol >= 0 || heads.value % kv_heads != 0) {
    return check.Error(StrCat("got ", check.DimText(heads), " query heads, expected a multiple of ",
                              kv_heads, " key and value heads"));
  }
  paged.ops = *FindCacheOps(cache.dtype);
  paged.head_bytes = RowBytes(cache.dtype, width);
  paged.cell_bytes = paged.head_bytes * kv_heads;
  return paged;
}

}  // namespace renga::cpu
