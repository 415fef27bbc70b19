// What a token weighs in a softmax, as a whole number: the formula of runtime/text/token_weight.h,
// which says why. The same bits as there, without any option of a compiler mattering: a difference,
// a product, and integers.
#pragma once

#include "codegen/kernels/primitives.cuh"

namespace renga::kernels {

inline constexpr int kWeightBits = 42;

// 2^42 e^(logit - max), rounded. logit <= max; 0 for -infinity.
__device__ __forceinline__ uint64_t TokenWeight(float logit, float max) {
  if (logit == -Infinity()) return 0;
  const double t = (static_cast<double>(max) - logit) * (1.4426950408889634 * 281474976710656.0);
  if (!(t < 281474976710656.0 * (kWeightBits + 1))) return 0;
  const uint64_t fixed = static_cast<uint64_t>(t);
  const uint64_t fraction = fixed << 16;
  // 2^64 ln(2)^k / k!, from k = 14 down to 1.
  uint64_t series = 0x0000000000131496;
  series = 0x0000000001816193 - MultiplyHigh(fraction, series);
  series = 0x000000001c3bd651 - MultiplyHigh(fraction, series);
  series = 0x00000001e8cac735 - MultiplyHigh(fraction, series);
  series = 0x0000001e4cf5158c - MultiplyHigh(fraction, series);
  series = 0x000001b5253d395e - MultiplyHigh(fraction, series);
  series = 0x0000162c0223a5c8 - MultiplyHigh(fraction, series);
  series = 0x0000ffe5fe2c4586 - MultiplyHigh(fraction, series);
  series = 0x000a184897c363c4 - MultiplyHigh(fraction, series);
  series = 0x005761ff9e299cc4 - MultiplyHigh(fraction, series);
  series = 0x0276556df749cee5 - MultiplyHigh(fraction, series);
  series = 0x0e35846b82505fc6 - MultiplyHigh(fraction, series);
  series = 0x3d7f7bff058b1d51 - MultiplyHigh(fraction, series);
  series = 0xb17217f7d1cf79ac - MultiplyHigh(fraction, series);
  const uint64_t power = (uint64_t{1} << 63) - MultiplyHigh(fraction, series) / 2;
  const int shift = 63 - kWeightBits + static_cast<int>(fixed >> 48);
  return (power + (uint64_t{1} << (shift - 1))) >> shift;
}

}  // namespace renga::kernels
