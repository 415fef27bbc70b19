// What the decoders of IQ2 and IQ3 share: signs. Internal to ir/reference.
#pragma once

#include <bit>
#include <cstdint>

namespace renga {

// The eight sign bits that a 7-bit code stands for: an even number of values is negative, so the
// eighth bit is the parity of the other seven.
inline uint8_t SignsWithParity(uint32_t code) {
  const uint32_t signs = code & 127;
  return static_cast<uint8_t>(signs | (std::popcount(signs) & 1) << 7);
}

// -1 where bit `i` of `signs` is set, else 1.
inline float SignOf(int signs, int i) { return (signs >> i & 1) ? -1.0f : 1.0f; }

}  // namespace renga
