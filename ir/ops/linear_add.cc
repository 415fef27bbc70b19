// linear_add(residual, x, @weight, bias=):
//   y[..,n] = residual[..,n] + sum_k weight[n,k] x[..,k] + bias[n]
// The projection that ends a block, and the sum around the block.
#include "ir/core/decompose.h"
#include "ir/ops/ops.h"

namespace renga {

const OpDef kLinearAdd = {
    .name = "linear_add",
    .formula = "y[..,n] = residual[..,n] + (sum_k weight[n,k] x[..,k] + bias[n])",
    .operands = {{"residual"},
                 {"x"},
                 {"weight", /*weight=*/true, false, /*product=*/true},
                 {"bias", false, /*optional=*/true}},
    .row_wise = true,
    .decompose =
        [](DecomposeCall& call) {
          const ValueId linear = call.Op("linear", "linear", {call.in(1), call.in(2), call.in(3)});
          call.Return(call.Op("add", "sum", {call.in(0), linear}));
        },
};

}  // namespace renga
