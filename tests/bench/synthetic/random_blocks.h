// Random weights of the sizes that trained ones have, in the bytes of GGUF's types.
#pragma once

#include <cstdint>
#include <string>

#include "ir/base/dtype.h"

namespace renga::synthetic {

// Whether there is a recipe for the type: f16, bf16, q8_0, q5_0, q4_k and q6_k.
bool HasRecipe(DType type);

// `count` blocks whose elements have mean 0 and about the deviation given: no scale is infinite or
// no number. The same for the same arguments. The type must have a recipe.
std::string RandomBlocks(DType type, double deviation, int64_t count, uint64_t seed);

// `count` numbers around `mean`, as F32.
std::string RandomFloats(double mean, double deviation, int64_t count, uint64_t seed);

}  // namespace renga::synthetic
