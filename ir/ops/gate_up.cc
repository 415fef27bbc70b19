// gate_up(x, @gate, @up, gate_bias=, up_bias=) {activation}:
//   y[..,n] = activation(sum_k gate[n,k] x[..,k] + gate_bias[n])
//             * (sum_k up[n,k] x[..,k] + up_bias[n])
// The two projections of a gated MLP and what comes of them; ir/ops/glu.cc has the activations.
#include "ir/core/decompose.h"
#include "ir/ops/ops.h"

namespace renga {

const OpDef kGateUp = {
    .name = "gate_up",
    .formula = "y[..,n] = activation(sum_k gate[n,k] x[..,k]) * sum_k up[n,k] x[..,k]",
    .operands = {{"x"},
                 {"gate", /*weight=*/true},
                 {"up", /*weight=*/true},
                 {"gate_bias", false, /*optional=*/true},
                 {"up_bias", false, /*optional=*/true}},
    .attrs = {{"activation", AttrType::kName}},
    .row_wise = true,
    .decompose =
        [](DecomposeCall& call) {
          const ValueId x = call.in(0);
          const ValueId gate = call.Op("linear", "gate", {x, call.in(1), call.in(3)});
          const ValueId up = call.Op("linear", "up", {x, call.in(2), call.in(4)});
          call.Return(call.Op("glu", "act", {gate, up}, call.Attrs({"activation"})));
        },
};

}  // namespace renga
