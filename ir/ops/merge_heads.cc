// merge_heads(x):  y[t, h * D + d] = x[t,h,d]
#include "ir/base/status.h"
#include "ir/core/eval.h"
#include "ir/core/infer.h"
#include "ir/ops/ops.h"

namespace renga {

const OpDef kMergeHeads = {
    .name = "merge_heads",
    .formula = "y[t, h * D + d] = x[t,h,d]",
    .operands = {{"x"}},
    .row_wise = true,
    .infer = [](const InferCall& call) -> absl::StatusOr<std::vector<TensorType>> {
      RENGA_RETURN_IF_ERROR(call.ExpectPlain(0));
      RENGA_RETURN_IF_ERROR(call.ExpectRank(0, 3));
      RENGA_ASSIGN_OR_RETURN(const int64_t heads, call.ConstDim(0, 1));
      RENGA_ASSIGN_OR_RETURN(const int64_t head_dim, call.ConstDim(0, 2));
      return std::vector<TensorType>{
          {call.type(0).dtype, {call.type(0).shape[0], heads * head_dim}}};
    },
    .evaluate = [](EvalCall& call) -> absl::Status {
      call.out(0).f = call.in(0).f;
      return absl::OkStatus();
    },
};

}  // namespace renga
