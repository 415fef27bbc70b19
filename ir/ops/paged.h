// Where a sequence's key or value of position j lies in a paged cache, shared by the attention
// operators' reference evaluation.
#pragma once

#include "ir/base/status.h"
#include "ir/core/eval.h"
#include "ir/core/infer.h"

namespace renga {

// pages[sequence, j / page_tokens] * page_tokens + j % page_tokens; -1 where the sequence has no
// page.
inline int64_t CellOf(const HostTensor& pages, int64_t sequence, int64_t j, int64_t page_tokens) {
  const int64_t page = j / page_tokens;
  if (page >= pages.shape[1]) return -1;
  const int64_t physical = pages.i[sequence * pages.shape[1] + page];
  return physical < 0 ? -1 : physical * page_tokens + j % page_tokens;
}

// Operands (x[T,..], cache[C,K,D], sequences[T], pages[S,P]) at `x`, x+1, x+2, x+3.
inline absl::Status ExpectPaged(const InferCall& call, int x) {
  RENGA_RETURN_IF_ERROR(call.ExpectPlain(x));
  RENGA_RETURN_IF_ERROR(call.ExpectRank(x, 3));
  RENGA_RETURN_IF_ERROR(call.ExpectCached(x + 1));
  RENGA_RETURN_IF_ERROR(call.ExpectRank(x + 1, 3));
  RENGA_RETURN_IF_ERROR(call.ExpectType(x + 2, {DType::kI32, {call.type(x).shape[0]}}));
  RENGA_RETURN_IF_ERROR(call.ExpectDType(x + 3, DType::kI32));
  RENGA_RETURN_IF_ERROR(call.ExpectRank(x + 3, 2));
  return call.ExpectPositive("page_tokens");
}

// The cell must exist, the sequence too: page tables come from outside.
inline absl::Status CheckPaging(const HostTensor& cache, const HostTensor& sequences,
                                const HostTensor& pages, int64_t page_tokens) {
  for (int32_t sequence : sequences.i) {
    if (sequence < 0 || sequence >= pages.shape[0]) {
      return absl::OutOfRangeError(
          StrCat("sequences: expected 0..", pages.shape[0] - 1, ", got ", sequence));
    }
  }
  for (int32_t page : pages.i) {
    if (page >= cache.shape[0] / page_tokens) {  // no product: page_tokens may be any number
      return absl::OutOfRangeError(StrCat("pages: expected pages inside ", cache.shape[0],
                                          " cells, got page ", page, " of ", page_tokens));
    }
  }
  return absl::OkStatus();
}

}  // namespace renga
