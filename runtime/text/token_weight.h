// What a token weighs in a softmax, as a whole number. Sums of whole numbers do not depend on their
// order, and this one is made of whole numbers but for one subtraction and one product of doubles:
// so sums, cuts and draws are the same bits on any device, however it divides the work. The kernel
// that samples on a GPU has the same formula (codegen/kernels/token_weight.cuh).
#pragma once

#include <cstdint>
#include <limits>

namespace renga {

inline constexpr int kWeightBits = 42;
inline constexpr uint64_t kWholeWeight = uint64_t{1} << kWeightBits;  // of the largest logit
// So many weights can be added.
inline constexpr int64_t kMostWeights = (int64_t{1} << (64 - kWeightBits)) - 1;

// 2^64 ln(2)^k / k!, rounded; k = 1 to 14. The first term that is left out is below 2^-48.
inline constexpr uint64_t kExpTerms[] = {0xb17217f7d1cf79ac, 0x3d7f7bff058b1d51, 0x0e35846b82505fc6,
                                         0x0276556df749cee5, 0x005761ff9e299cc4, 0x000a184897c363c4,
                                         0x0000ffe5fe2c4586, 0x0000162c0223a5c8, 0x000001b5253d395e,
                                         0x0000001e4cf5158c, 0x00000001e8cac735, 0x000000001c3bd651,
                                         0x0000000001816193, 0x0000000000131496};

// The upper 64 bits of the product.
constexpr uint64_t MultiplyHigh(uint64_t a, uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  return static_cast<uint64_t>(static_cast<Wide>(a) * b >> 64);
}

// 2^42 e^(logit - max), rounded to a whole number; the error before that is below 2^-44 of it.
// logit <= max; 0 for -infinity, also where max is -infinity.
constexpr uint64_t TokenWeight(float logit, float max) {
  if (logit == -std::numeric_limits<float>::infinity()) return 0;
  // e^-d = 2^-t. The scale is log2(e) in units of 2^-48.
  const double t = (static_cast<double>(max) - logit) * 0x1.71547652b82fep+48;
  if (!(t < 0x1p+48 * (kWeightBits + 1))) return 0;  // half of one or less
  const uint64_t fixed = static_cast<uint64_t>(t);
  const uint64_t fraction = fixed << 16;
  uint64_t series = kExpTerms[13];
  for (int k = 12; k >= 0; --k) series = kExpTerms[k] - MultiplyHigh(fraction, series);
  const uint64_t power = (uint64_t{1} << 63) - MultiplyHigh(fraction, series) / 2;  // of 2^63
  const int shift = 63 - kWeightBits + static_cast<int>(fixed >> 48);
  return (power + (uint64_t{1} << (shift - 1))) >> shift;
}

}  // namespace renga
