// One pattern held against the nodes around one node. Internal to match.cc.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ir/base/strings.h"
#include "passes/core/match.h"

namespace renga {

// What kept a pattern from matching, and how far it had come.
struct Obstacle {
  int returns = -1;  // results of the fused node that had been found
  int checks = 0;    // that had passed
  std::string why;

  friend bool operator<(const Obstacle& a, const Obstacle& b) {
    return std::pair(a.returns, a.checks) < std::pair(b.returns, b.checks);
  }
};

class Attempt {
 public:
  Attempt(const Matcher& matcher, const Matcher::Pattern& pattern);

  // Whether the pattern matches with node `index` as its anchor. Call once.
  std::optional<Match> Run(int index);

  // After a Run that found nothing.
  const Obstacle& obstacle() const { return obstacle_; }

 private:
  // What an operand or attribute of the fused node turned out to be, and where that was seen first.
  struct Bound {
    ValueId value = kNoValue;
    int node = -1;
  };
  struct BoundAttr {
    std::optional<AttrValue> value;
    int node = -1;
  };

  // Everything that a wrong choice has to undo.
  struct State {
    std::vector<Bound> bound;  // by value of the pattern: operands of the fused node
    std::vector<int> node_of;  // by node of the pattern
    std::map<std::string, BoundAttr, std::less<>> attrs;
    std::vector<std::pair<ValueId, int>> reads;  // operand of the fused node, node that reads it
    int checks = 0;
  };

  // A part that is still missing though all it reads from other parts is known: it is among the
  // readers of `value`.
  struct Open {
    int part = -1;
    size_t operand = 0;
    ValueId value = kNoValue;  // in the graph
  };

  bool Fail(std::string why);
  bool Pass() {
    ++state_.checks;
    return true;
  }

  std::string Ref(ValueId id) const { return RefText(m_.graph_.value(id)); }
  std::string NodeRef(int node) const { return Ref(m_.graph_.nodes[node].results[0]); }
  bool IsInside(ValueId pattern_value) const {
    return pattern_value != kNoValue && pattern_.uses.producer[pattern_value] >= 0;
  }
  bool IsTaken(int node) const;

  // The part is node `index`, and what it reads is right, back to the fused node's operands.
  bool MatchNode(int part, int index);
  bool MatchOutside(const Node& want, const Node& got, int index, size_t operand);
  bool MatchInside(const Node& want, const Node& got, size_t operand);
  bool MatchAttrs(const Node& want, const Node& got, int index);
  // Of a value between parts: nobody else sees it.
  bool MatchUsers(ValueId pattern_value, ValueId value);

  // Looks for the missing parts among the readers of what is known.
  bool MatchRest();
  std::optional<Open> NextOpen() const;
  ValueId Known(ValueId pattern_value) const;

  // The fused node can stand where its last part stands.
  bool CheckPlace();

  Match Result() const;

  const Matcher& m_;
  const Matcher::Pattern& pattern_;
  const Graph& parts_;
  State state_;
  Obstacle obstacle_;
};

}  // namespace renga
