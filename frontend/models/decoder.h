// The pre-norm decoder that llama and its kin share:
//   x += attention(norm(x));  x += mlp(norm(x)), layer by layer.
#pragma once

#include "frontend/models/blocks.h"

namespace renga {

// What tells one such architecture from another. None of it is recorded in a GGUF file.
struct DecoderTraits {
  RopePairing pairing;
  Presence qkv_bias;
  Presence attn_output_bias;
  Presence mlp_bias;
  Presence output_bias;  // of the logits
  bool free_head_dim;    // may heads * head_dim differ from the width
  bool experts;          // may the feed-forward be a mixture of experts (Mixtral)
};

// Writes the whole graph from the usual keys.
void BuildDecoder(ModelBuilder& b, const DecoderTraits& traits);

}  // namespace renga
