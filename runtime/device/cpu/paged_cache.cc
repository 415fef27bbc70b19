#include "runtime/device/cpu/paged_cache.h"

#include <algorithm>

#include "ir/base/status.h"
#include "ir/base/strings.h"

namespace renga::cpu {

void PagedCache::Load(const uint8_t* cache, const int32_t* pages, int64_t table_width, int64_t head,
                      int64_t begin, int64_t count, int64_t width, float* rows,
                      bool* missing) const {
  const int64_t stride = FloatStride(width);
  for (int64_t i = 0; i < count; ++i) {
    const uint8_t* cell = Cell(cache, pages, table_width, begin + i);
    missing[i] = cell == nullptr;
    if (cell == nullptr) {
      std::fill_n(rows + i * stride, stride, 0.0f);
    } else {
      ops->unpack(cell + head * head_bytes, width, rows + i * stride);
    }
  }
}

absl::StatusOr<PagedCache> PreparePagedCache(const StepCheck& check, const plan::Dim& tokens,
                                             const plan::Dim& heads) {
  PagedCache paged;
  RENGA_RETURN_IF_ERROR(check.InType(1, {DType::kF32, DType::kF16, DType::kBF16}, 3));
  RENGA_RETURN_IF_ERROR(check.InType(2, {DType::kI32}, 1));
  RENGA_RETURN_IF_ERROR(check.InType(3, {DType::kI32}, 2));
  RENGA_RETURN_IF_ERROR(check.SameDim("seq", check.In(2), 0, "the tokens", tokens));
  RENGA_ASSIGN_OR_RETURN(paged.page_tokens, check.Int("page_tokens"));
  if (paged.page_tokens < 1 || paged.page_tokens > INT32_MAX) {
    return check.Error(
        StrCat("attribute page_tokens is ", paged.page_tokens, ", expected 1 to 2147483647"));
  }
  const plan::TensorType& cache = check.In(1);
  RENGA_ASSIGN_OR_RETURN(const int64_t kv_heads, check.ConstDim(1, 1));
  RENGA_ASSIGN_OR_RETURN(const int64_t width, check.ConstDim(1, 2));
  if (heads.symbol >= 0 || heads.value % kv_heads != 0) {
    return check.Error(StrCat("got ", check.DimText(heads), " query heads, expected a multiple of ",
                              kv_heads, " key and value heads"));
  }
  paged.ops = FindFloatOps(cache.dtype);
  paged.head_bytes = RowBytes(cache.dtype, width);
  paged.cell_bytes = paged.head_bytes * kv_heads;
  return paged;
}

}  // namespace renga::cpu
