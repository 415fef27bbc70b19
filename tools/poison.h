// What is put where a step is to write, to see afterwards what it did not write.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "ir/base/dtype.h"

namespace renga {

// A number of an element's type that no step writes: of floats a signalling NaN, which arithmetic
// never gives; as i32 one beyond every id.
struct Poison {
  DType type;
  int64_t bytes;  // of an element
  uint32_t pattern;
  uint32_t infinite;  // bits of the exponent, all of which NaN and infinity have; 0: an integer
};

// nullptr for types of blocks, and for f8_e4m3, one of whose two NaN it would have to be.
const Poison* FindPoison(DType type);

// Elements of it, dense.
std::vector<uint8_t> Poisoned(const Poison& poison, int64_t elements);

// What a tensor holds that it should not: of unwritten and of not finite elements how many, and the
// first of each.
struct Odd {
  int64_t unwritten = 0, not_finite = 0;
  int64_t first_unwritten = -1, first_not_finite = -1;
};

// Adds what is odd about some elements of that type, the first of which is the tensor's number
// `first`.
void AddOdd(const Poison& poison, absl::Span<const uint8_t> elements, int64_t first, Odd* odd);

}  // namespace renga
