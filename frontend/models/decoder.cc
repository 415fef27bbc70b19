#include "frontend/models/decoder.h"

#include <algorithm>
#include <cmath>

#include "frontend/models/experts.h"
#include "ir/base/status.h"

namespace renga {
namespace {

AttentionParams ReadAttention(ModelBuilder& b, int layer, const DecoderTraits& traits,
                              const RopeParams& rope, int64_t key_dim, int64_t value_dim) {
  AttentionParams params;
  params.heads = b.LayerInt("attention.head_count", layer);
  params.kv_heads = b.LayerInt("attention.head_count_kv", layer, params.heads);
  params.key_dim = key_dim;
  params.value_dim = value_dim;
  params.scale = 1 / std::sqrt(static_cast<double>(key_dim));
  params.rope = rope;
  params.qkv_bias = traits.qkv_bias;
  params.output_bias = traits.attn_output_bias;
  if (b.ok() && (params.heads < 1 || params.kv_heads < 1 || params.heads % params.kv_heads != 0)) {
    b.Fail(absl::InvalidArgumentError(StrCat(
        b.path(), ": layer ", layer, ": ", b.Key("attention.head_count"),
        ": expected a multiple of head_count_kv ", params.kv_heads, ", got ", params.heads)));
  }
  // With this bound the widths of q, k and v can be added up.
  constexpr int64_t kMaxWidth = int64_t{1} << 31;
  if (b.ok() && params.heads * std::max(key_dim, value_dim) > kMaxWidth) {
    b.Fail(absl::InvalidArgumentError(
        StrCat(b.path(), ": layer ", layer, ": ", b.Key("attention.head_count"),
               " times key_length or value_length: expected at most ", kMaxWidth, ", got ",
               params.heads, " times ", std::max(key_dim, value_dim))));
  }
  return params;
}

// A dense gated MLP, or experts where the file says how many.
ValueId FeedForward(ModelBuilder& b, int layer, ValueId x, const DecoderTraits& traits) {
  const int64_t hidden = b.LayerInt("feed_forward_length", layer);
  const int64_t experts = traits.experts ? b.Int("expert_count", 0) : 0;
  if (experts == 0) return GatedMlp(b, layer, x, hidden, "silu", traits.mlp_bias);
  const int64_t used = b.Int("expert_used_count");
  if (b.ok() && (used < 1 || used > experts)) {
    b.Fail(absl::InvalidArgumentError(StrCat(b.path(), ": ", b.Key("expert_used_count"),
                                             ": expected 1..", experts, ", got ", used)));
  }
  return Experts(b, layer, x,
                 {.experts = experts,
                  .used = used,
                  .hidden = b.Int("expert_feed_forward_length", hidden),
                  .normalise = true});
}

}  // namespace

void BuildDecoder(ModelBuilder& b, const DecoderTraits& traits) {
  DescribeModel(b);
  const double eps = b.PositiveFloat("attention.layer_norm_rms_epsilon");
  if (!b.ok()) return;
  const ModelInfo& info = b.info();
  const int64_t key_dim = info.head_dim;
  const int64_t value_dim = b.Int("attention.value_length", info.embedding / info.heads);
  const int64_t rotated = b.Int("rope.dimension_count", key_dim);
  if (rotated != key_dim) {
    b.Fail(absl::InvalidArgumentError(StrCat(b.path(), ": ", b.Key("rope.dimension_count"),
                                             ": expected the head size ", key_dim, ", got ",
                                             rotated)));
  }
  if (key_dim < 2 || key_dim % 2 != 0) {
    b.Fail(absl::InvalidArgumentError(StrCat(b.path(), ": ", b.Key("attention.key_length"),
                                             " (or embedding_length / head_count): expected an "
                                             "even number, since pairs rotate, got ",
                                             key_dim)));
  }
  if (value_dim < 1) {
    b.Fail(absl::InvalidArgumentError(StrCat(b.path(), ": ", b.Key("attention.value_length"),
                                             ": expected a positive number, got ", value_dim)));
  }
  if (!traits.free_head_dim && info.heads * key_dim != info.embedding) {
    b.Fail(absl::InvalidArgumentError(StrCat(b.path(), ": ", b.Key("attention.key_length"),
                                             ": expected embedding_length / head_count ",
                                             info.embedding / info.heads, ", got ", key_dim)));
  }
  const RopeParams rope = ReadRope(b, traits.pairing, rotated);
  ValueId x = Embedding(b, info.embedding);
  for (int layer = 0; layer < info.layers && b.ok(); ++layer) {
    const AttentionParams attention = ReadAttention(b, layer, traits, rope, key_dim, value_dim);
    const ValueId attn_norm =
        RmsNorm(b, InLayer(layer, "attn_norm"), x, Block(layer, "attn_norm.weight"), eps);
    x = Add(b, InLayer(layer, "attn_res"), x, Attention(b, layer, attn_norm, attention));
    const ValueId ffn_norm =
        RmsNorm(b, InLayer(layer, "ffn_norm"), x, Block(layer, "ffn_norm.weight"), eps);
    x = Add(b, InLayer(layer, "out"), x, FeedForward(b, layer, ffn_norm, traits));
  }
  LogitsHead(b, x, eps, traits.output_bias);
}

}  // namespace renga
