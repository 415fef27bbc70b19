#include "ir/diff/moved.h"

#include <algorithm>

namespace renga {

std::vector<bool> FewestMoved(const std::vector<int>& positions) {
  const int count = static_cast<int>(positions.size());
  std::vector<int> ends;  // ends[k]: element with the smallest position that ends a run of k + 1
  std::vector<int> before(count, -1);
  for (int i = 0; i < count; ++i) {
    const auto place =
        std::lower_bound(ends.begin(), ends.end(), positions[i],
                         [&](int element, int value) { return positions[element] < value; });
    if (place != ends.begin()) before[i] = *(place - 1);
    if (place == ends.end()) {
      ends.push_back(i);
    } else {
      *place = i;
    }
  }
  std::vector<bool> moved(count, true);
  for (int i = ends.empty() ? -1 : ends.back(); i >= 0; i = before[i]) moved[i] = false;
  return moved;
}

}  // namespace renga
