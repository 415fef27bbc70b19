// Finds the nodes that a fused operator stands for. The pattern is the operator's own decomposition
// with operands and attributes left open, so that a match means the same by construction; where
// there is none, the matcher says in words what stood in the way.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "ir/core/decompose.h"
#include "ir/core/graph.h"

namespace renga {

struct Match {
  std::vector<int> nodes;         // indices into Graph::nodes, ascending
  std::vector<ValueId> results;   // of the fused node
  std::vector<ValueId> operands;  // of the fused node; kNoValue for an absent optional one
  AttrMap attrs;                  // of the fused node
};

class Matcher {
 public:
  // Borrows `graph`, which must not change while the matcher is in use. Optional operands named in
  // `without` are absent from every match. Linear in the graph.
  static absl::StatusOr<Matcher> Create(const Graph& graph, const OpDef& fused,
                                        absl::Span<const std::string_view> without = {});

  // Whether node `index` could be the part that makes the fused node's result number OpDef::anchor:
  // its operator is that part's. Where several parts have that operator, what its operands come
  // from must be right as well.
  bool IsCandidate(int index) const;

  // The parts around the candidate `index`. They match when operators, operands and attributes are
  // those of the decomposition, values in between have no other users, and the fused node can stand
  // at the last of them: nobody reads a result before it, no operand is overwritten before it.
  // Otherwise nullopt, and `why` says what is different: "%3.probs has 2 users". Takes time in the
  // number of parts, where a value outside the match has many readers times at most 64 of them.
  std::optional<Match> At(int index, std::string* why) const;

  // Leaves the nodes of `match` out of later ones.
  void Use(const Match& match);

 private:
  friend class Attempt;
  struct Pattern {
    Decomposition parts;
    Uses uses;
    std::vector<bool> returned;  // by value
    int anchor = -1;             // node
  };

  Matcher(const Graph& graph, const OpDef& fused) : graph_(graph), fused_(fused) {}

  const Graph& graph_;
  const OpDef& fused_;
  std::vector<Pattern> patterns_;  // one for every choice of optional operands, most first
  Uses uses_;
  std::vector<std::vector<int>> readers_;  // by value: nodes, ascending
  std::vector<bool> returned_;             // by value
  std::vector<int> overwritten_by_;        // by value: node that reuses its storage, or -1
  std::vector<bool> used_;                 // by node: it is part of an earlier match
};

}  // namespace renga
