// The text form of a graph. Law: Parse(Print(g)) prints as Print(g).
#pragma once

#include <string>

#include "ir/core/graph.h"

namespace renga {

std::string Print(const Graph& graph);

// One node, as one line without indentation or line break:
//   %0.attn_norm: f32[T,896] = rms_norm(%embed, @blk.0.attn_norm.weight) {eps=1e-06}
std::string PrintNode(const Graph& graph, const Node& node);

}  // namespace renga
