// The largest of some numbers, found in parts: for arg_max and head.
#pragma once

#include <cstdint>
#include <limits>

namespace renga::cpu {

// The largest number and where it is, the first place where there are several. A NaN or +infinity
// among the numbers makes it {+infinity, -1}, which no number changes any more; it is {-infinity,
// -1} of no numbers, or of -infinities alone. So an index is >= 0 only where it is to be trusted,
// and folding parts in any order gives the same.
struct Largest {
  float value = -std::numeric_limits<float>::infinity();
  int32_t index = -1;

  // Takes in x[0..n), whose indices start at `first`.
  void Fold(const float* x, int64_t n, int64_t first);
  void Fold(const Largest& other);
};

}  // namespace renga::cpu
