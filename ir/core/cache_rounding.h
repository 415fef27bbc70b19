// What a cache of keys or values can be, and what it keeps of a row.
#pragma once

#include <string>

#include "absl/types/span.h"
#include "ir/base/dtype.h"

namespace renga {

// Element types that caches can have.
absl::Span<const DType> CacheTypes();

// "f32, f16, bf16, q8_0, q4_0 or f8_e4m3"
std::string CacheTypeNames();

// Rounds a row to what a cache of `dtype`, one of CacheTypes, can hold; rows of types with blocks
// are whole blocks of 32:
//   f32, f16, bf16: the nearest number.
//   f8_e4m3: the nearest of +-n 2^e, n a whole number of 8..15 and e of -9..5, or n of 0..7 and e
//     -9, but none above 448 (14 2^5): larger ones become that, infinity too. NaN stays NaN.
//   q8_0: n d, n a whole number of -127..127, d the block's largest size / 127 as f16.
//   q4_0: of y = H x, H the symmetric orthonormal Hadamard matrix, H[i,j] = (-1)^|i & j| / sqrt(32)
//     with |b| the number of ones in b: H (n d), n a whole number of -8..7, d = m / -8 as f16, m
//     the first of the y of largest size. A block of 4 bit numbers has room for one large one; H
//     spreads it over all 32.
// A block of q4_0 with a number that is not finite becomes NaN.
void RoundRow(DType dtype, absl::Span<float> row);

}  // namespace renga
