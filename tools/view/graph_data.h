// What both pages say about a graph, as the compact JSON that assets/model.js reads.
#pragma once

#include <string>
#include <string_view>

#include "ir/core/graph.h"
#include "nlohmann/json.hpp"

namespace renga::view {

using Json = nlohmann::ordered_json;

// Strings that repeat in every layer are written once and named by their index.
//   types   ["f32[T,64]", ...]
//   ops     [[name, formula, [operand, ...]], ...]       those the graph uses
//   attrs   [[[name, value], ...], ...]                  attribute lists, as printed
//   values  [[reference, type, kind], ...]               kind 0 param, 1 weight, 2 cache, 3 result
//   nodes   [[op, [operand or -1], [result], attrs, layer or -1, [provenance]], ...]
//   lines   [text, ...]                                  the nodes as PrintNode has them
//   symbols [[name, min, max], ...]      params, caches, returns: [value, ...]
Json GraphData(const Graph& graph);

// "%0.q" for a node's name: as in the text form, names with other bytes quoted and escaped.
std::string ValueRef(std::string_view name);

}  // namespace renga::view
