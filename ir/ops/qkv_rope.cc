// qkv_rope(x, @q, @k, @v, k_cache, v_cache, positions, cells, norm=, q_bias=, k_bias=, v_bias=,
//          q_norm=, k_norm=, factors=) {q_heads, kv_heads, eps, head_eps, and those of rope}
//   -> q, k_cache, v_cache:
//   h       = rms_norm(x, norm) {eps} where there is a norm, else x
//   q[t]    = rope(heads(q h[t] + q_bias)), head by head rms_norm {head_eps} by q_norm before it
//   k_cache[cells[t]] = rope(heads(k h[t] + k_bias)), normed by k_norm likewise
//   v_cache[cells[t]] = heads(v h[t] + v_bias)
// Everything between a layer's input and its attention. The three weights may differ in type. The
// bias of k may be missing where q and v have theirs: attention may add it (ir/ops/attn_scores.cc).
#include "ir/core/decompose.h"
#include "ir/ops/ops.h"

namespace renga {
namespace {

enum Operand {
  kX,
  kQ,
  kK,
  kV,
  kKCache,
  kVCache,
  kPositions,
  kCells,
  kNorm,
  kQBias,
  kKBias,
  kVBias,
  kQNorm,
  kKNorm,
  kFactors
};

// x W + b as heads, each of them normed where there is a weight for that.
ValueId Heads(DecomposeCall& call, ValueId x, int weight, int bias, std::string_view count,
              ValueId norm) {
  const ValueId projected = call.Op("linear", "proj", {x, call.in(weight), call.in(bias)});
  const ValueId heads = call.Op("split_heads", "heads", {projected}, call.Renamed(count, "heads"));
  if (norm == kNoValue) return heads;
  return call.Op("rms_norm", "head_norm", {heads, norm}, call.Renamed("head_eps", "eps"));
}

ValueId Rotated(DecomposeCall& call, ValueId heads) {
  return call.Op("rope", "rope", {heads, call.in(kPositions), call.in(kFactors)},
                 call.Attrs({"base", "beta_fast", "beta_slow", "dims", "factor", "magnitude",
                             "original_context", "pairing", "scaling"}));
}

}  // namespace

const OpDef kQkvRope = {
    .name = "qkv_rope",
    .formula = "q = rope(q norm(x)), k_cache[cells] = rope(k norm(x)), v_cache[cells] = v norm(x)",
    .operands = {{"x"},
                 {"q", /*weight=*/true, false, /*product=*/true},
                 {"k", /*weight=*/true, false, /*product=*/true},
                 {"v", /*weight=*/true, false, /*product=*/true},
                 {"k_cache"},
                 {"v_cache"},
                 {"positions"},
                 {"cells"},
                 {"norm", false, /*optional=*/true},
                 {"q_bias", false, /*optional=*/true, false, "biases"},
                 {"k_bias", false, /*optional=*/true},
                 {"v_bias", false, /*optional=*/true, false, "biases"},
                 {"q_norm", false, /*optional=*/true, false, "head norms"},
                 {"k_norm", false, /*optional=*/true, false, "head norms"},
                 {"factors", false, /*optional=*/true}},
    .attrs = {{"base", AttrType::kFloat},
              {"beta_fast", AttrType::kFloat, /*required=*/false},
              {"beta_slow", AttrType::kFloat, /*required=*/false},
              {"dims", AttrType::kInt},
              {"eps", AttrType::kFloat, /*required=*/false},
              {"factor", AttrType::kFloat},
              {"head_eps", AttrType::kFloat, /*required=*/false},
              {"kv_heads", AttrType::kInt},
              {"magnitude", AttrType::kFloat},
              {"original_context", AttrType::kInt, /*required=*/false},
              {"pairing", AttrType::kName},
              {"q_heads", AttrType::kInt},
              {"scaling", AttrType::kName}},
    .results = 3,
    .aliases = {{/*result=*/1, /*operand=*/kKCache}, {/*result=*/2, /*operand=*/kVCache}},
    .decompose =
        [](DecomposeCall& call) {
          ValueId x = call.in(kX);
          if (call.has(kNorm)) {
            x = call.Op("rms_norm", "norm", {x, call.in(kNorm)}, call.Attrs({"eps"}));
          }
          const ValueId q = Heads(call, x, kQ, kQBias, "q_heads", call.in(kQNorm));
          const ValueId k = Heads(call, x, kK, kKBias, "kv_heads", call.in(kKNorm));
          const ValueId v = Heads(call, x, kV, kVBias, "kv_heads", kNoValue);
          const ValueId cells = call.in(kCells);
          call.Return(Rotated(call, q));
          call.Return(call.Op("kv_append", "k_cells", {call.in(kKCache), Rotated(call, k), cells}));
          call.Return(call.Op("kv_append", "v_cells", {call.in(kVCache), v, cells}));
        },
    .anchor = 1,
};

}  // namespace renga
