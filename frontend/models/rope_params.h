// RoPE hyperparameters from metadata. Which pairs of a head rotate together is recorded nowhere in
// a GGUF file: the architecture says it.
#pragma once

#include <string>

#include "frontend/models/builder.h"

namespace renga {

enum class RopePairing {
  kNorm,  // (2p, 2p+1): llama, whose converter permutes the rows of q and k for it
  kNeox,  // (p, p + dims/2): most others
};

struct RopeParams {
  AttrMap attrs;               // of the rope operator
  ValueId factors = kNoValue;  // divides the frequencies; kNoValue when the file has none
};

// Reads rope.freq_base, rope.scaling.* and the factor tensors (rope_freqs, or long and short
// factors chosen by the context). `dims` values of each head rotate. Sources: Su et al. 2021
// (RoPE), Peng et al. 2023 (YaRN), the Llama 3.1 and Phi-3 model cards.
RopeParams ReadRope(ModelBuilder& builder, RopePairing pairing, int64_t dims);

}  // namespace renga
