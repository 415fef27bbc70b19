// A graph diff as data.
#pragma once

#include "ir/diff/graph_diff.h"
#include "tools/renga/output.h"

namespace renga {

// [{kind, subject, layers, role, what, before, after, count}], a group each; in the order of
// GraphDiffText.
Json GroupsJson(const GraphDiff& diff);

}  // namespace renga
