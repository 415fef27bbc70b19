// gate_up(x, @gate, @up, norm=, gate_bias=, up_bias=) {activation, eps}:
//   y[..,n] = activation(sum_k gate[n,k] h[..,k] + gate_bias[n])
//             * (sum_k up[n,k] h[..,k] + up_bias[n]),  h = rms_norm(x, norm) where there is a norm
// The two projections of a gated MLP and what comes of them; ir/ops/glu.cc has the activations.
#include "ir/core/decompose.h"
#include "ir/ops/ops.h"

namespace renga {

const OpDef kGateUp = {
    .name = "gate_up",
    .formula = "y[..,n] = activation(sum_k gate[n,k] norm(x)[..,k]) * sum_k up[n,k] norm(x)[..,k]",
    .operands = {{"x"},
                 {"gate", /*weight=*/true, false, /*product=*/true},
                 {"up", /*weight=*/true, false, /*product=*/true},
                 {"norm", false, /*optional=*/true},
                 {"gate_bias", false, /*optional=*/true},
                 {"up_bias", false, /*optional=*/true}},
    .attrs = {{"activation", AttrType::kName}, {"eps", AttrType::kFloat, /*required=*/false}},
    .row_wise = true,
    .decompose =
        [](DecomposeCall& call) {
          ValueId x = call.in(0);
          if (call.has(3)) x = call.Op("rms_norm", "norm", {x, call.in(3)}, call.Attrs({"eps"}));
          const ValueId gate = call.Op("linear", "gate", {x, call.in(1), call.in(4)});
          const ValueId up = call.Op("linear", "up", {x, call.in(2), call.in(5)});
          call.Return(call.Op("glu", "act", {gate, up}, call.Attrs({"activation"})));
        },
};

}  // namespace renga
