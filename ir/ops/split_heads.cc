// split_heads(x) {heads}:  y[t,h,d] = x[t, h * D + d], D = width / heads
#include "ir/base/status.h"
#include "ir/core/eval.h"
#include "ir/core/infer.h"
#include "ir/ops/ops.h"

namespace renga {

const OpDef kSplitHeads = {
    .name = "split_heads",
    .formula = "y[t,h,d] = x[t, h * D + d]",
    .operands = {{"x"}},
    .attrs = {{"heads", AttrType::kInt}},
    .row_wise = true,
    .infer = [](const InferCall& call) -> absl::StatusOr<std::vector<TensorType>> {
      RENGA_RETURN_IF_ERROR(call.ExpectPlain(0));
      RENGA_RETURN_IF_ERROR(call.ExpectRank(0, 2));
      RENGA_RETURN_IF_ERROR(call.ExpectPositive("heads"));
      RENGA_ASSIGN_OR_RETURN(const int64_t width, call.ConstDim(0, 1));
      const int64_t heads = call.Int("heads");
      if (width % heads != 0) {
        return call.OperandError(0, StrCat("a width that is a multiple of ", heads, " heads"));
      }
      return std::vector<TensorType>{
          {call.type(0).dtype, {call.type(0).shape[0], heads, width / heads}}};
    },
    .evaluate = [](EvalCall& call) -> absl::Status {
      call.out(0).f = call.in(0).f;
      return absl::OkStatus();
    },
};

}  // namespace renga
