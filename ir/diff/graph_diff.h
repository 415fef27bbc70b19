// What differs between two graphs. Nodes are lined up by name, then by provenance, then by
// structure, so that a fused node meets the many it replaced; what is left over was added or
// removed. Equal changes of several layers form one group.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ir/core/graph.h"

namespace renga {

enum class ChangeKind : uint8_t {
  kAdded,         // only in b
  kRemoved,       // only in a
  kFused,         // several nodes of a became one of b
  kSplit,         // one node of a became several of b
  kRewritten,     // several became several
  kRenamed,       // the same but for its name
  kOrder,         // the same at another place of the execution order
  kOperator,      // another operator computes it
  kAttribute,     // an attribute's value
  kOperand,       // reads another value
  kType,          // element type of a result, cache or parameter
  kShape,         // sizes, or the bounds of a symbol
  kWeightType,    // element type of a weight
  kWeightValues,  // a weight's contents (files only; graphs hold none)
};
std::string_view ToString(ChangeKind kind);  // "added", ..., "weight type", "weight values"

// How a line-up was found; tells apart what is certain from what is likely.
enum class MatchBy : uint8_t { kName, kProvenance, kStructure };
std::string_view ToString(MatchBy by);

// Nodes that compute the same: indices into Graph::nodes, ascending. One side may be empty.
struct NodeMatch {
  std::vector<int> a;
  std::vector<int> b;
  MatchBy by = MatchBy::kName;
};

enum class Subject : uint8_t { kNode, kWeight, kCache, kParam, kSymbol, kReturn };
std::string_view ToString(Subject subject);

struct Change {
  ChangeKind kind;
  Subject subject = Subject::kNode;
  int match = -1;      // index into GraphDiff::matches; -1 for what is no node
  std::string a_name;  // without sigil; empty where there is none on that side. Of several nodes:
  std::string b_name;  // of the last, whose value the others only lead to
  int layer = -1;      // -1 outside layers
  std::string what;    // name of the attribute or operand, "result 1"; else empty
  std::string before;  // value as text: "norm", "f32[T,64]", "q_proj k_proj rope(q)"; without the
  std::string after;   // layer's number in names of its own layer
};

// Changes that differ only in their layer.
struct ChangeGroup {
  ChangeKind kind;
  Subject subject = Subject::kNode;
  std::vector<int> layers;   // ascending; empty outside layers
  std::vector<int> changes;  // indices into GraphDiff::changes, in execution order
  std::string role;          // what changed, without layer: "rope(q, k)", "q_proj", "logits"
  std::string what;
  std::string before;
  std::string after;
};

struct GraphDiff {
  std::vector<NodeMatch> matches;  // every node of both graphs is in exactly one; ordered by b
  std::vector<int> match_of_a;     // by node index
  std::vector<int> match_of_b;
  std::vector<Change> changes;
  std::vector<ChangeGroup> groups;

  bool equal() const { return changes.empty(); }
};

struct GraphDiffOptions {
  bool ignore_names = false;  // renamed is not a change, and names do not line nodes up
};

// Both graphs are verified. Close to linear in nodes. Parameters, weights and caches line up by
// name even where names are ignored: theirs come from the model file and the run. Not compared are
// what means nothing: the graph's own name, provenance, the order of declarations other than
// parameters.
GraphDiff DiffGraphs(const Graph& a, const Graph& b, const GraphDiffOptions& options = {});

// Values that both graphs compute, by the line-up: results of one node each, and the last value of
// those that were fused, split or rewritten; parameters, weights and caches by name. In the order
// of b's nodes.
std::vector<std::pair<ValueId, ValueId>> MatchedValues(const Graph& a, const Graph& b,
                                                       const GraphDiff& diff);

// A line per group, aligned, then a summary. "equal: ..." where nothing differs.
std::string GraphDiffText(const Graph& a, const Graph& b, const GraphDiff& diff);

// "layers 0-23", "layers 0-3,7", "layer 5", "outside layers".
std::string LayersText(const std::vector<int>& layers);

}  // namespace renga
