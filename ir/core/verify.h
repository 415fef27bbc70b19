// The rules every graph obeys, checked before and after every pass.
#pragma once

#include <cstddef>
#include <string_view>

#include "absl/status/status.h"
#include "ir/core/graph.h"

namespace renga {

// Symbols are looked up one after another; a model has a handful.
inline constexpr size_t kMaxSymbols = 256;

// Checks, naming the node and its text in every error:
//  - names are unique, non-empty; symbols are identifiers declared with 1 <= min <= max; types use
//    declared symbols, rank 1..4, positive constants, rows of whole blocks, fewer than 2^63 bytes;
//  - every value is listed once, under its own kind; every node has its results;
//  - a packed weight follows the weight it is packed from, which is not packed itself, and has its
//    type, which the layout accepts; nothing else is packed;
//  - every operand is defined before use; operand and attribute presence and kinds match the
//    operator;
//  - result types equal what the operator infers; the values inside a fused one have legal types;
//  - an aliasing operator overwrites a cache or a result, never a weight or a parameter, and reads
//    what it overwrites through that one operand only;
//  - a value whose storage an aliasing operator overwrote is not used afterwards;
//  - every cache that is overwritten is returned in its newest form, so that the next run sees it;
//  - every return is defined.
// Values that nothing lists or produces (left behind by a pass, see Compact) are ignored.
absl::Status Verify(const Graph& graph);

// The part of Verify that concerns one type: "expected rank 1..4, got ...".
absl::Status CheckType(const Graph& graph, const TensorType& type);

// The part of Verify that concerns packing a weight, declared before, into one of type `type`.
absl::Status CheckPacking(const Value& source, const TensorType& type, std::string_view layout);

// The part of Verify that concerns one symbol by itself.
absl::Status CheckSymbol(const SymbolDef& symbol);

}  // namespace renga
