// How changes name things: without the number of the layer they are in, so that the same change in
// another layer reads the same.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ir/core/graph.h"

namespace renga {

// Layer number in a name: a component of its own, "3.q" or "blk.3.attn_q.weight"; else -1.
int LayerInName(std::string_view name);

// The name without its layer where that is `layer`: "3.q" is "q", "blk.3.attn_q.weight" is
// "blk.*.attn_q.weight". In the layer before and after: "prev.out", "next.q".
std::string RoleName(std::string_view name, int layer);

// Role and operator of a node: "rope(q)"; the role alone where it names a weight's product or the
// operator's name says no more.
std::string NodeRole(const Graph& graph, const Node& node, int layer);

// "q_proj rope(q, k)": roles one after the other, those of one operator together.
std::string JoinRoles(const std::vector<std::string>& roles, std::string_view separator);

}  // namespace renga
