#include "ir/trace/stats.h"

#include <algorithm>
#include <cmath>

#include "ir/trace/elements.h"

namespace renga {

ValueStats ComputeStats(const TracedValue& value) {
  ValueStats stats;
  const int64_t count = value.elements();
  int64_t finite = 0;
  double sum = 0, squares = 0;
  ForEachElement(value.dtype, value.data.data(), count, [&](double x) {
    if (std::isnan(x)) {
      ++stats.nans;
      return;
    }
    if (std::isinf(x)) {
      ++stats.infs;
      return;
    }
    stats.min = finite == 0 ? x : std::min(stats.min, x);
    stats.max = finite == 0 ? x : std::max(stats.max, x);
    stats.zeros += x == 0;
    sum += x;
    squares += x * x;
    ++finite;
  });
  if (finite > 0) {
    stats.mean = sum / static_cast<double>(finite);
    stats.rms = std::sqrt(squares / static_cast<double>(finite));
  }
  return stats;
}

}  // namespace renga
