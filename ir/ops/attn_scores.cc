// attn_scores(q, k_cache, sequences, pages) {page_tokens, scale, span}:
//   s[t,h,j] = scale * sum_d q[t,h,d] k_cache[cell(sequences[t], j), h / (H/K), d],  j in 0..L-1
// j is a position of the token's own sequence; where the sequence has no page yet s is 0 (the mask
// hides it). `span` names the symbol L, the number of key positions of this run.
#include "ir/base/status.h"
#include "ir/core/eval.h"
#include "ir/core/infer.h"
#include "ir/ops/ops.h"
#include "ir/ops/paged.h"

namespace renga {

const OpDef kAttnScores = {
    .name = "attn_scores",
    .formula = "s[t,h,j] = scale * sum_d q[t,h,d] k_cache[cell(t,j), h / (H/K), d]",
    .operands = {{"q"}, {"k_cache"}, {"sequences"}, {"pages"}},
    .attrs = {{"page_tokens", AttrType::kInt},
              {"scale", AttrType::kFloat},
              {"span", AttrType::kName}},
    .infer = [](const InferCall& call) -> absl::StatusOr<std::vector<TensorType>> {
      RENGA_RETURN_IF_ERROR(ExpectPaged(call, 0));
      RENGA_RETURN_IF_ERROR(call.ExpectDim(1, 2, call.type(0).shape[2]));
      RENGA_ASSIGN_OR_RETURN(const int64_t heads, call.ConstDim(0, 1));
      RENGA_ASSIGN_OR_RETURN(const int64_t kv_heads, call.ConstDim(1, 1));
      if (heads % kv_heads != 0) {
        return call.OperandError(0, StrCat("heads that are a multiple of ", kv_heads));
      }
      return std::vector<TensorType>{
          {DType::kF32, {call.type(0).shape[0], heads, Dim::Symbol(call.Name("span"))}}};
    },
    .evaluate = [](EvalCall& call) -> absl::Status {
      const HostTensor& q = call.in(0);
      const HostTensor& cache = call.in(1);
      const HostTensor& sequences = call.in(2);
      const HostTensor& pages = call.in(3);
      HostTensor& s = call.out(0);
      const int64_t page_tokens = call.Int("page_tokens");
      RENGA_RETURN_IF_ERROR(CheckPaging(cache, sequences, pages, page_tokens));
      const int64_t heads = q.shape[1], head_dim = q.shape[2], kv_heads = cache.shape[1];
      const int64_t span = s.shape[2];
      const double scale = call.Float("scale");
      call.Parallel(q.shape[0], [&](int64_t t) {
        for (int64_t j = 0; j < span; ++j) {
          const int64_t cell = CellOf(pages, sequences.i[t], j, page_tokens);
          if (cell < 0) continue;
          for (int64_t h = 0; h < heads; ++h) {
            const float* query = q.f.data() + (t * heads + h) * head_dim;
            const float* key =
                cache.f.data() + (cell * kv_heads + h / (heads / kv_heads)) * head_dim;
            double sum = 0;
            for (int64_t d = 0; d < head_dim; ++d) sum += double{query[d]} * key[d];
            s.f[(t * heads + h) * span + j] = static_cast<float>(scale * sum);
          }
        }
      });
      return absl::OkStatus();
    },
};

}  // namespace renga
