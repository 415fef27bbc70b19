// norm_linear(x, norm, @weight, bias=) {eps}:
//   y[..,n] = sum_k weight[n,k] h[..,k] + bias[n],  h = rms_norm(x, norm)
// A projection that norms what it reads.
#include "ir/core/decompose.h"
#include "ir/ops/ops.h"

namespace renga {

const OpDef kNormLinear = {
    .name = "norm_linear",
    .formula = "y[..,n] = sum_k weight[n,k] rms_norm(x)[..,k] + bias[n]",
    .operands = {{"x"},
                 {"norm"},
                 {"weight", /*weight=*/true, false, /*product=*/true},
                 {"bias", false, /*optional=*/true}},
    .attrs = {{"eps", AttrType::kFloat}},
    .row_wise = true,
    .decompose =
        [](DecomposeCall& call) {
          const ValueId normed =
              call.Op("rms_norm", "norm", {call.in(0), call.in(1)}, call.Attrs({"eps"}));
          call.Return(call.Op("linear", "linear", {normed, call.in(2), call.in(3)}));
        },
};

}  // namespace renga
