// What a cache of keys or values can be, and what it keeps of a row.
#pragma once

#include <string>

#include "absl/types/span.h"
#include "ir/base/dtype.h"

namespace renga {

// Element types that caches can have.
absl::Span<const DType> CacheTypes();

// "f32, f16, bf16, q8_0 or q4_0"
std::string CacheTypeNames();

// Rounds a row to what a cache of `dtype`, one of CacheTypes, can hold; rows of types with blocks
// are whole blocks of 32:
//   f32, f16, bf16: the nearest number.
//   q8_0: n d, n a whole number of -127..127, d the block's largest size / 127 as f16.
//   q4_0: of y = H x, H the symmetric orthonormal Hadamard matrix, H[i,j] = (-1)^|i & j| / sqrt(32)
//     with |b| the number of ones in b: H (n d), n a whole number of -8..7, d = m / -8 as f16, m
//     the first of the y of largest size. A block of 4 bit numbers has room for one large one; H
//     spreads it over all 32.
// A block of q4_0 with a number that is not finite becomes NaN.
void RoundRow(DType dtype, absl::Span<float> row);

}  // namespace renga
