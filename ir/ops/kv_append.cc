// kv_append(cache, x, cells):  cache[cells[t],:,:] = x[t,:,:], in place
// Rounded to what a cache of its type keeps (RoundRow in ir/core/cache_rounding.h).
// The result is the cache with the new entries; the operand must not be used afterwards.
#include <algorithm>

#include "ir/base/status.h"
#include "ir/core/cache_rounding.h"
#include "ir/core/eval.h"
#include "ir/core/infer.h"
#include "ir/ops/ops.h"

namespace renga {

const OpDef kKvAppend = {
    .name = "kv_append",
    .formula = "cache[cells[t],:,:] = x[t,:,:]",
    .operands = {{"cache"}, {"x"}, {"cells"}},
    .aliases = {{/*result=*/0, /*operand=*/0}},
    .infer = [](const InferCall& call) -> absl::StatusOr<std::vector<TensorType>> {
      RENGA_RETURN_IF_ERROR(call.ExpectCached(0));
      RENGA_RETURN_IF_ERROR(call.ExpectRank(0, 3));
      RENGA_RETURN_IF_ERROR(call.ExpectPlain(1));
      RENGA_RETURN_IF_ERROR(call.ExpectRank(1, 3));
      RENGA_RETURN_IF_ERROR(call.ExpectDim(1, 1, call.type(0).shape[1]));
      RENGA_RETURN_IF_ERROR(call.ExpectDim(1, 2, call.type(0).shape[2]));
      RENGA_RETURN_IF_ERROR(call.ExpectType(2, {DType::kI32, {call.type(1).shape[0]}}));
      return std::vector<TensorType>{call.type(0)};
    },
    .evaluate = [](EvalCall& call) -> absl::Status {
      const HostTensor& x = call.in(1);
      const HostTensor& cells = call.in(2);
      HostTensor& cache = call.out(0);
      const int64_t width = cache.shape[1] * cache.shape[2];
      for (int64_t t = 0; t < x.shape[0]; ++t) {
        const int64_t cell = cells.i[t];
        if (cell < 0 || cell >= cache.shape[0]) {
          return absl::OutOfRangeError(
              StrCat("cells[", t, "]: expected 0..", cache.shape[0] - 1, ", got ", cell));
        }
        const auto entry = absl::MakeSpan(cache.f).subspan(cell * width, width);
        std::copy_n(x.f.begin() + t * width, width, entry.begin());
        RoundRow(cache.dtype, entry);
      }
      return absl::OkStatus();
    },
};

}  // namespace renga
