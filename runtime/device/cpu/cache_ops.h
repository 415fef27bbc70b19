// Entries of K and V caches, for kv_append and qkv_rope.
#pragma once

#include <cstdint>

#include "ir/base/dtype.h"

namespace renga::cpu {

// n numbers rounded to `type`: f32, f16 or bf16. `out` need not be aligned.
void StoreFloats(const float* x, int64_t n, DType type, uint8_t* out);

}  // namespace renga::cpu
