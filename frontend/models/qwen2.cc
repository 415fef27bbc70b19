// qwen2 (Qwen team, 2024): llama's decoder with biases on q, k and v. The biases reach tens (keys
// of -34 in the 0.5B) and are right; they are added before RoPE and so belong in the cached keys.
// RoPE rotates the halves of a head against each other.
#include "frontend/models/architecture.h"
#include "frontend/models/decoder.h"

namespace renga {

const Architecture kQwen2 = {
    .name = "qwen2",
    .build =
        [](ModelBuilder& b) {
          BuildDecoder(b, {.pairing = RopePairing::kNeox,
                           .qkv_bias = Presence::kRequired,
                           .attn_output_bias = Presence::kAbsent,
                           .mlp_bias = Presence::kAbsent,
                           .output_bias = Presence::kOptional,
                           .free_head_dim = false,
                           .experts = false});
        },
};

}  // namespace renga
