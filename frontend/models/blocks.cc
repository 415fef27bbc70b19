#include "frontend/models/blocks.h"

#include "ir/base/status.h"

namespace renga {
namespace {

struct Projections {
  ValueId q, k, v;  // [T, heads * head_dim] each
};

// Three tensors, or one whose rows are all of q, then all of k, then all of v.
Projections ProjectQkv(ModelBuilder& b, int layer, ValueId x, const AttentionParams& p) {
  const int64_t q = p.heads * p.key_dim, k = p.kv_heads * p.key_dim, v = p.kv_heads * p.value_dim;
  if (!b.HasTensor(Block(layer, "attn_qkv.weight"))) {
    return {
        Linear(b, InLayer(layer, "q_proj"), x, Block(layer, "attn_q"), q, p.qkv_bias),
        Linear(b, InLayer(layer, "k_proj"), x, Block(layer, "attn_k"), k, p.qkv_bias),
        Linear(b, InLayer(layer, "v_proj"), x, Block(layer, "attn_v"), v, p.qkv_bias),
    };
  }
  const ValueId all =
      Linear(b, InLayer(layer, "qkv_proj"), x, Block(layer, "attn_qkv"), q + k + v, p.qkv_bias);
  const auto cut = [&](std::string_view role, int64_t start, int64_t size) {
    return b.Op("slice", InLayer(layer, role), {all}, {{"size", size}, {"start", start}});
  };
  return {cut("q_proj", 0, q), cut("k_proj", q, k), cut("v_proj", q + k, v)};
}

ValueId SplitHeads(ModelBuilder& b, std::string name, ValueId x, int64_t heads) {
  return b.Op("split_heads", std::move(name), {x}, {{"heads", heads}});
}

ValueId Rope(ModelBuilder& b, std::string name, ValueId x, const RopeParams& rope) {
  return b.Op("rope", std::move(name), {x, b.positions(), rope.factors}, rope.attrs);
}

// Writes this step's entries; the value that holds the cache from then on.
ValueId Append(ModelBuilder& b, int layer, std::string_view role, DType dtype, ValueId x) {
  const TensorType& type = b.type(x);
  const ValueId cache = b.Cache(InLayer(layer, StrCat(role, "_cache")), dtype, type.shape[1].value,
                                type.shape[2].value);
  const ValueId cells =
      b.Op("kv_append", InLayer(layer, StrCat(role, "_cells")), {cache, x, b.cells()});
  b.ReturnCache(cells);
  return cells;
}

}  // namespace

std::string InLayer(int layer, std::string_view role) { return StrCat(layer, ".", role); }

std::string Block(int layer, std::string_view tensor) { return StrCat("blk.", layer, ".", tensor); }

ValueId Embedding(ModelBuilder& b, int64_t width) {
  // Rows may be padded beyond the vocabulary, never fewer.
  const int64_t rows = b.TensorRows("token_embd.weight");
  if (b.ok() && rows < b.vocab()) {
    b.Fail(absl::InvalidArgumentError(StrCat(b.path(), ": token_embd.weight: expected at least ",
                                             b.vocab(),
                                             " rows, one a token of the vocabulary, got ", rows)));
  }
  return b.Op("embed", "embed", {b.tokens(), b.Weight("token_embd.weight", {rows, width})});
}

ValueId RmsNorm(ModelBuilder& b, std::string name, ValueId x, const std::string& weight,
                double eps) {
  if (!b.ok()) return kNoValue;
  const int64_t width = b.type(x).shape.back().value;
  return b.Op("rms_norm", std::move(name), {x, b.Weight(weight, {width})}, {{"eps", eps}});
}

ValueId Linear(ModelBuilder& b, std::string name, ValueId x, const std::string& stem, int64_t out,
               Presence bias) {
  if (!b.ok()) return kNoValue;
  const int64_t in = b.type(x).shape.back().value;
  const ValueId weight = b.Weight(StrCat(stem, ".weight"), {out, in});
  return b.Op("linear", std::move(name), {x, weight, b.Weight(StrCat(stem, ".bias"), {out}, bias)});
}

ValueId Add(ModelBuilder& b, std::string name, ValueId a, ValueId other) {
  return b.Op("add", std::move(name), {a, other});
}

ValueId Attention(ModelBuilder& b, int layer, ValueId x, const AttentionParams& p) {
  if (!b.ok()) return kNoValue;
  const int64_t width = b.type(x).shape.back().value;
  const int64_t page_tokens = b.options().page_tokens;
  const Projections proj = ProjectQkv(b, layer, x, p);
  const ValueId q_heads = SplitHeads(b, InLayer(layer, "q_heads"), proj.q, p.heads);
  const ValueId k_heads = SplitHeads(b, InLayer(layer, "k_heads"), proj.k, p.kv_heads);
  const ValueId v = SplitHeads(b, InLayer(layer, "v"), proj.v, p.kv_heads);
  const ValueId q = Rope(b, InLayer(layer, "q"), q_heads, p.rope);
  const ValueId k = Rope(b, InLayer(layer, "k"), k_heads, p.rope);
  if (!b.ok()) return kNoValue;
  const GraphOptions& options = b.options();
  const DType k_type =
      TypeOfLayer(options.kv_of_layers, layer, &KvTypesOfLayers::k, options.k_type);
  const DType v_type =
      TypeOfLayer(options.kv_of_layers, layer, &KvTypesOfLayers::v, options.v_type);
  const ValueId k_cells = Append(b, layer, "k", k_type, k);
  const ValueId v_cells = Append(b, layer, "v", v_type, v);
  const ValueId scores = b.Op(
      "attn_scores", InLayer(layer, "scores"), {q, k_cells, b.sequences(), b.pages(), kNoValue},
      {{"page_tokens", page_tokens}, {"scale", p.scale}, {"span", std::string("L")}});
  const ValueId probs =
      b.Op("masked_softmax", InLayer(layer, "probs"), {scores, b.positions(), kNoValue},
           {{"causal", true}, {"window", p.window}});
  const ValueId mix =
      b.Op("attn_values", InLayer(layer, "mix"), {probs, v_cells, b.sequences(), b.pages()},
           {{"page_tokens", page_tokens}});
  const ValueId merged = b.Op("merge_heads", InLayer(layer, "attn"), {mix});
  return Linear(b, InLayer(layer, "attn_out"), merged, Block(layer, "attn_output"), width,
                p.output_bias);
}

ValueId GatedMlp(ModelBuilder& b, int layer, ValueId x, int64_t hidden, std::string_view activation,
                 Presence bias) {
  if (!b.ok()) return kNoValue;
  const int64_t width = b.type(x).shape.back().value;
  const ValueId gate = Linear(b, InLayer(layer, "gate"), x, Block(layer, "ffn_gate"), hidden, bias);
  const ValueId up = Linear(b, InLayer(layer, "up"), x, Block(layer, "ffn_up"), hidden, bias);
  const ValueId act =
      b.Op("glu", InLayer(layer, "act"), {gate, up}, {{"activation", std::string(activation)}});
  return Linear(b, InLayer(layer, "ffn_out"), act, Block(layer, "ffn_down"), width, bias);
}

void LogitsHead(ModelBuilder& b, ValueId x, double eps, Presence bias) {
  const ValueId normed = RmsNorm(b, "output_norm", x, "output_norm.weight", eps);
  if (!b.ok()) return;
  const bool tied = !b.HasTensor("output.weight");
  const std::string name = tied ? "token_embd.weight" : "output.weight";
  const int64_t rows = b.TensorRows(name);
  const int64_t width = b.type(x).shape.back().value;
  const ValueId weight = b.Weight(name, {rows, width});
  ValueId logits = b.Op("linear", rows == b.vocab() ? "logits_all" : "logits_padded",
                        {normed, weight, b.Weight("output.bias", {rows}, bias)});
  if (rows > b.vocab()) {
    logits = b.Op("slice", "logits_all", {logits}, {{"size", b.vocab()}, {"start", int64_t{0}}});
  } else if (rows < b.vocab()) {
    b.Fail(
        absl::InvalidArgumentError(StrCat(b.path(), ": ", name, ": expected at least ", b.vocab(),
                                          " rows, one a token of the vocabulary, got ", rows)));
  }
  logits = b.Op("gather_rows", "logits", {logits, b.rows()});
  b.ReturnLogits(logits, b.Op("arg_max", "next", {logits}));
}

void DescribeModel(ModelBuilder& b) {
  ModelInfo& info = b.info();
  info.layers = b.Int("block_count");
  info.embedding = b.Int("embedding_length");
  info.heads = b.LayerInt("attention.head_count", 0);
  info.kv_heads = b.LayerInt("attention.head_count_kv", 0, info.heads);
  info.feed_forward = b.LayerInt("feed_forward_length", 0);
  info.context_length = b.Int("context_length");
  info.vocab = b.vocab();
  // Every layer has its own tensors, so a count beyond the file's tensors cannot be right.
  if (b.ok() && (info.layers < 1 || info.layers > b.tensor_count())) {
    b.Fail(absl::InvalidArgumentError(StrCat(b.path(), ": ", b.Key("block_count"), ": expected 1..",
                                             b.tensor_count(), ", got ", info.layers)));
  }
  if (b.ok() && (info.heads < 1 || info.kv_heads < 1 || info.embedding < 1)) {
    b.Fail(absl::InvalidArgumentError(StrCat(
        b.path(), ": ", b.Key("attention.head_count"), ", head_count_kv, embedding_length: ",
        "expected positive numbers, got ", info.heads, ", ", info.kv_heads, ", ", info.embedding)));
  }
  if (!b.ok()) return;
  info.head_dim = b.Int("attention.key_length", info.embedding / info.heads);
}

}  // namespace renga
