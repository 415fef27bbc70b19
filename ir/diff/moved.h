// Which elements of a sequence have moved.
#pragma once

#include <vector>

namespace renga {

// `positions` are distinct: where each element stood before. Returns, by element, whether it moved:
// the fewest that have to be taken out so that the rest stand in their old order (all but a longest
// increasing subsequence). O(n log n).
std::vector<bool> FewestMoved(const std::vector<int>& positions);

}  // namespace renga
