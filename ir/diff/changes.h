// What differs between graphs that are lined up.
#pragma once

#include <string>
#include <vector>

#include "ir/diff/line_up.h"

namespace renga {

// Of symbols, parameters, caches, weights, nodes and returns, in this order; nodes in the order of
// the matches, which are finished.
std::vector<Change> FindChanges(const LineUp& line_up, bool ignore_names);

// The parts, each appending to `changes`.
void FindLeafChanges(const LineUp& line_up, bool ignore_names, std::vector<Change>* changes);
void FindNodeChanges(const LineUp& line_up, bool ignore_names, std::vector<Change>* changes);
void FindReturnChanges(const LineUp& line_up, bool ignore_names, std::vector<Change>* changes);

// Whether the two values are lined up, or both absent.
bool SameValue(const LineUp& line_up, ValueId a, ValueId b);

// How a value reads in a change of that layer: "q", "blk.*.attn_q.weight", "none".
std::string ValueText(const Graph& graph, ValueId id, int layer);

// How a type reads in a change of shape: whole, or "[T,64]" where the element type differs too,
// which is a change of its own.
std::string ShapeText(const TensorType& type, const TensorType& other);

}  // namespace renga
