// head(x, @weight, norm=, bias=) {eps} -> logits, next:
//   logits[r,n] = sum_k weight[n,k] h[r,k] + bias[n],  h = rms_norm(x, norm) where there is a norm
//   next[r]     = arg_max(logits[r])
// What ends a model: logits, and the token that greedy decoding goes on with.
#include "ir/core/decompose.h"
#include "ir/ops/ops.h"

namespace renga {

const OpDef kHead = {
    .name = "head",
    .formula = "logits[r,n] = sum_k weight[n,k] norm(x)[r,k] + bias[n], next = arg_max(logits)",
    .operands = {{"x"},
                 {"weight", /*weight=*/true, false, /*product=*/true},
                 {"norm", false, /*optional=*/true},
                 {"bias", false, /*optional=*/true}},
    .attrs = {{"eps", AttrType::kFloat, /*required=*/false}},
    .results = 2,
    .row_wise = true,
    .decompose =
        [](DecomposeCall& call) {
          ValueId x = call.in(0);
          if (call.has(2)) x = call.Op("rms_norm", "norm", {x, call.in(2)}, call.Attrs({"eps"}));
          const ValueId logits = call.Op("linear", "logits", {x, call.in(1), call.in(3)});
          call.Return(logits);
          call.Return(call.Op("arg_max", "next", {logits}));
        },
    .anchor = 1,
};

}  // namespace renga
