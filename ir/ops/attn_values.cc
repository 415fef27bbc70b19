// attn_values(p, v_cache, sequences, pages) {page_tokens}:
//   y[t,h,d] = sum_j p[t,h,j] v_cache[cell(sequences[t], j), h / (H/K), d]
// Keys with p = 0 (masked) are not read: their cells may hold anything.
#include "ir/base/status.h"
#include "ir/core/eval.h"
#include "ir/core/infer.h"
#include "ir/ops/ops.h"
#include "ir/ops/paged.h"

namespace renga {

const OpDef kAttnValues = {
    .name = "attn_values",
    .formula = "y[t,h,d] = sum_j p[t,h,j] v_cache[cell(t,j), h / (H/K), d]",
    .operands = {{"p"}, {"v_cache"}, {"sequences"}, {"pages"}},
    .attrs = {{"page_tokens", AttrType::kInt}},
    .infer = [](const InferCall& call) -> absl::StatusOr<std::vector<TensorType>> {
      RENGA_RETURN_IF_ERROR(ExpectPaged(call, 0));
      RENGA_ASSIGN_OR_RETURN(const int64_t heads, call.ConstDim(0, 1));
      RENGA_ASSIGN_OR_RETURN(const int64_t kv_heads, call.ConstDim(1, 1));
      if (heads % kv_heads != 0) {
        return call.OperandError(0, StrCat("heads that are a multiple of ", kv_heads));
      }
      return std::vector<TensorType>{
          {DType::kF32, {call.type(0).shape[0], heads, call.type(1).shape[2]}}};
    },
    .evaluate = [](EvalCall& call) -> absl::Status {
      const HostTensor& p = call.in(0);
      const HostTensor& cache = call.in(1);
      const HostTensor& sequences = call.in(2);
      const HostTensor& pages = call.in(3);
      HostTensor& y = call.out(0);
      const int64_t page_tokens = call.Int("page_tokens");
      RENGA_RETURN_IF_ERROR(CheckPaging(cache, sequences, pages, page_tokens));
      const int64_t heads = p.shape[1], span = p.shape[2];
      const int64_t kv_heads = cache.shape[1], head_dim = cache.shape[2];
      call.Parallel(p.shape[0], [&](int64_t t) {
        std::vector<double> sum(head_dim);
        for (int64_t h = 0; h < heads; ++h) {
          std::fill(sum.begin(), sum.end(), 0.0);
          for (int64_t j = 0; j < span; ++j) {
            const double weight = p.f[(t * heads + h) * span + j];
            const int64_t cell = weight == 0 ? -1 : CellOf(pages, sequences.i[t], j, page_tokens);
            if (cell < 0) continue;
            const float* value =
                cache.f.data() + (cell * kv_heads + h / (heads / kv_heads)) * head_dim;
            for (int64_t d = 0; d < head_dim; ++d) sum[d] += weight * value[d];
          }
          for (int64_t d = 0; d < head_dim; ++d) {
            y.f[(t * heads + h) * head_dim + d] = static_cast<float>(sum[d]);
          }
        }
      });
      return absl::OkStatus();
    },
};

}  // namespace renga
