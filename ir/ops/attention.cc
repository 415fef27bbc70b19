// attention(q, k_cache, v_cache, positions, sequences, pages, sinks=, k_bias=) {causal,
// page_tokens,
//   scale, span, window, and with k_bias those of rope}:
//   y[t,h,d] = sum_j p[t,h,j] v_cache[cell(t,j), h / (H/K), d]
//   p = softmax over the visible j of scale * q[t,h] . k[j,h / (H/K)] (and the sink), where k[j] is
//   k_cache[cell(t,j)] and the rotated k_bias as attn_scores has them
// The parts say which keys are visible and what a missing page means. No score outlives the node.
#include "ir/core/decompose.h"
#include "ir/ops/ops.h"

namespace renga {

const OpDef kAttention = {
    .name = "attention",
    .formula = "y[t,h,d] = sum_j softmax_j(scale * q[t,h] . k_cache[cell(t,j)]) v_cache[cell(t,j)]",
    .operands = {{"q"},
                 {"k_cache"},
                 {"v_cache"},
                 {"positions"},
                 {"sequences"},
                 {"pages"},
                 {"sinks", false, /*optional=*/true},
                 {"k_bias", false, /*optional=*/true}},
    .attrs = {{"base", AttrType::kFloat, /*required=*/false},
              {"beta_fast", AttrType::kFloat, /*required=*/false},
              {"beta_slow", AttrType::kFloat, /*required=*/false},
              {"causal", AttrType::kBool},
              {"dims", AttrType::kInt, /*required=*/false},
              {"factor", AttrType::kFloat, /*required=*/false},
              {"magnitude", AttrType::kFloat, /*required=*/false},
              {"original_context", AttrType::kInt, /*required=*/false},
              {"page_tokens", AttrType::kInt},
              {"pairing", AttrType::kName, /*required=*/false},
              {"scale", AttrType::kFloat},
              {"scaling", AttrType::kName, /*required=*/false},
              {"span", AttrType::kName},
              {"window", AttrType::kInt}},
    .decompose =
        [](DecomposeCall& call) {
          const ValueId positions = call.in(3), sequences = call.in(4), pages = call.in(5);
          const ValueId scores = call.Op(
              "attn_scores", "scores", {call.in(0), call.in(1), sequences, pages, call.in(7)},
              call.Attrs({"base", "beta_fast", "beta_slow", "dims", "factor", "magnitude",
                          "original_context", "page_tokens", "pairing", "scale", "scaling",
                          "span"}));
          const ValueId probs = call.Op("masked_softmax", "probs", {scores, positions, call.in(6)},
                                        call.Attrs({"causal", "window"}));
          call.Return(call.Op("attn_values", "mix", {probs, call.in(2), sequences, pages},
                              call.Attrs({"page_tokens"})));
        },
};

}  // namespace renga
