// llama (Touvron et al., 2023) and what is converted under its name: Mistral, Mixtral, SmolLM,
// TinyLlama,
// ... RoPE rotates neighbouring values: the converter to GGUF permutes the rows of q and k from the
// half-split order of the published checkpoints to that.
#include "frontend/models/architecture.h"
#include "frontend/models/decoder.h"

namespace renga {

const Architecture kLlama = {
    .name = "llama",
    .build =
        [](ModelBuilder& b) {
          BuildDecoder(b, {.pairing = RopePairing::kNorm,
                           .qkv_bias = Presence::kOptional,
                           .attn_output_bias = Presence::kOptional,
                           .mlp_bias = Presence::kOptional,
                           .output_bias = Presence::kAbsent,
                           .free_head_dim = true,
                           .experts = true});
        },
};

}  // namespace renga
