// Building blocks that architectures are written from. Every function adds nodes named
// "<layer>.<role>" and returns the value it computes.
#pragma once

#include <string>
#include <string_view>

#include "frontend/models/builder.h"
#include "frontend/models/rope_params.h"

namespace renga {

// Names inside layer `layer`: "3.q_proj" for values, "blk.3.attn_q" for tensors.
std::string InLayer(int layer, std::string_view role);
std::string Block(int layer, std::string_view tensor);

// token_embd.weight, one row a token: [T, width].
ValueId Embedding(ModelBuilder& b, int64_t width);

// x / rms(x) * weight, `weight` naming the tensor.
ValueId RmsNorm(ModelBuilder& b, std::string name, ValueId x, const std::string& weight,
                double eps);

// W x (+ bias): tensors `stem`.weight [out, in] and `stem`.bias [out].
ValueId Linear(ModelBuilder& b, std::string name, ValueId x, const std::string& stem, int64_t out,
               Presence bias);

ValueId Add(ModelBuilder& b, std::string name, ValueId a, ValueId other);

struct AttentionParams {
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t key_dim = 0;    // of each query and key head
  int64_t value_dim = 0;  // of each value head
  double scale = 0;       // of the scores; usually 1 / sqrt(key_dim)
  int64_t window = 0;     // keys visible, counting the query's own; 0: all
  RopeParams rope;
  Presence qkv_bias = Presence::kAbsent;
  Presence output_bias = Presence::kAbsent;
};

// Self-attention over the layer's KV cache: projections, RoPE, cache update, scores, mask and
// softmax, values, output projection. `x` is the normed input [T, width]; so is the result.
ValueId Attention(ModelBuilder& b, int layer, ValueId x, const AttentionParams& params);

// down(activation(gate x) * up x): the gated feed-forward of Shazeer, 2020.
ValueId GatedMlp(ModelBuilder& b, int layer, ValueId x, int64_t hidden, std::string_view activation,
                 Presence bias);

// output_norm, then output.weight (or, where the file has none, the tied token_embd.weight), for
// the rows asked for; cuts padded vocabulary rows off. Makes it the
// graph's logits, and the largest of each row its next token.
void LogitsHead(ModelBuilder& b, ValueId x, double eps, Presence bias);

// Fills the builder's ModelInfo from the usual keys.
void DescribeModel(ModelBuilder& b);

}  // namespace renga
