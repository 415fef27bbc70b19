// Finds the nodes that a fused operator stands for. The pattern is the operator's own decomposition
// with operands and attributes left open, so that a match means the same by construction; where
// there is none, the matcher says in words what stood in the way.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ir/core/decompose.h"
#include "ir/core/graph.h"

namespace renga {

struct Match {
  std::vector<int> nodes;         // indices into Graph::nodes, ascending; the last has the result
  std::vector<ValueId> operands;  // of the fused node; kNoValue for an absent optional one
  AttrMap attrs;                  // of the fused node
};

class Matcher {
 public:
  // `fused` has one result. Borrows `graph`, which must not change while the matcher is in use.
  // Linear in the graph.
  static absl::StatusOr<Matcher> Create(const Graph& graph, const OpDef& fused);

  // Operator of the part that has the fused node's result: nodes of it are the candidates.
  const OpDef* root() const { return root_; }

  // The parts of a fused node whose result is that of node `index`, which is by root(). They match
  // when operators, operands and attributes are those of the decomposition, values in between have
  // no other users, and no operand is overwritten between the part that reads it and node `index`.
  // Otherwise nullopt, and `why` says what is different: "%3.probs has 2 users". Takes time in the
  // number of parts only.
  std::optional<Match> At(int index, std::string* why) const;

 private:
  friend class Attempt;
  Matcher(const Graph& graph, const OpDef& fused) : graph_(graph), fused_(fused) {}

  const Graph& graph_;
  const OpDef& fused_;
  const OpDef* root_ = nullptr;
  std::vector<Decomposition> patterns_;  // one for every choice of optional operands, most first
  std::vector<Uses> pattern_uses_;       // of each pattern
  Uses uses_;
  std::vector<bool> returned_;       // by value
  std::vector<int> overwritten_by_;  // by value: node that reuses its storage, or -1
};

}  // namespace renga
