// Equal changes of several layers, told once.
#pragma once

#include <vector>

#include "ir/diff/graph_diff.h"

namespace renga {

// Changes that differ only in layer make a group; groups that differ only in role (rope of q and
// of k) become one, as "rope(q, k)". In the order of their first change.
std::vector<ChangeGroup> GroupChanges(const Graph& a, const Graph& b, const GraphDiff& diff);

}  // namespace renga
