// The steps of lining two graphs up, in the order DiffGraphs takes them: what is certain first, so
// that every step can lean on what those before it found. None is quadratic in nodes.
#pragma once

#include "ir/diff/line_up.h"

namespace renga {

// Parameters, weights and caches of the same name; parameters left over of the same type in order.
// Always by name, as theirs come from the model file and the run, not from who built the graph.
void MatchLeaves(LineUp* line_up);

// Nodes whose lists of source nodes overlap, together: one that was fused meets all it replaced.
void MatchByProvenance(LineUp* line_up);

// Same name and operator.
void MatchByName(LineUp* line_up);

// Same operator on the same weights, where only one node of each graph is that.
void MatchByWeights(LineUp* line_up);

// Same operator, attributes and operands, names aside; of those that look alike, the ones used
// alike.
void MatchByFingerprint(LineUp* line_up);

// What lies between lined-up values and lined-up users in one graph meets what lies there in the
// other: fusions that recorded no provenance, and other operators of the same name (unless
// `ignore_names`).
void MatchRegions(LineUp* line_up, bool ignore_names);

// Same operator next to nodes that are lined up: catches nodes with another name and attribute.
void MatchNeighbours(LineUp* line_up);

// A node that vanished while the node before it took over its inputs and its users: fused into it.
void MatchAbsorbed(LineUp* line_up);

// Weights and caches of different names in the same place of lined-up nodes.
void MatchLeavesByUse(LineUp* line_up);

// Every node left gets a match of its own, and the matches the order that GraphDiff promises.
void FinishMatches(LineUp* line_up);

}  // namespace renga
