// Changes of nodes: what became of each match.
#include <algorithm>
#include <set>
#include <unordered_map>
#include <utility>

#include "ir/base/strings.h"
#include "ir/diff/changes.h"
#include "ir/diff/label.h"
#include "ir/diff/moved.h"

namespace renga {
namespace {

class NodeChanges {
 public:
  NodeChanges(const LineUp& line_up, bool ignore_names, std::vector<Change>* changes)
      : line_up_(line_up),
        a_(line_up.a.graph),
        b_(line_up.b.graph),
        ignore_names_(ignore_names),
        changes_(*changes),
        moved_(MovedMatches()) {}

  void Find() {
    for (size_t m = 0; m < line_up_.matches.size(); ++m) {
      const NodeMatch& match = line_up_.matches[m];
      base_ = {.kind = ChangeKind::kAdded, .match = static_cast<int>(m)};
      if (!match.a.empty()) base_.a_name = line_up_.a.name(match.a.back());
      if (!match.b.empty()) base_.b_name = line_up_.b.name(match.b.back());
      base_.layer = LayerOf(match.b.empty() ? base_.a_name : base_.b_name);
      if (base_.layer < 0) base_.layer = LayerOf(base_.a_name);
      if (match.a.empty() || match.b.empty()) {
        Report(match.a.empty() ? ChangeKind::kAdded : ChangeKind::kRemoved, "", "", "");
      } else if (line_up_.IsSingle(static_cast<int>(m))) {
        ComparePair(match);
      } else {
        CompareMany(match);
      }
    }
  }

 private:
  void Report(ChangeKind kind, std::string what, std::string before, std::string after) {
    Change change = base_;
    change.kind = kind;
    change.what = std::move(what);
    change.before = std::move(before);
    change.after = std::move(after);
    changes_.push_back(std::move(change));
  }

  static std::string ResultName(const Node& node, size_t r) {
    return node.results.size() > 1 ? StrCat("result ", r) : "";
  }

  void ComparePair(const NodeMatch& match) {
    const Node& a = a_.nodes[match.a[0]];
    const Node& b = b_.nodes[match.b[0]];
    const size_t results = std::min(a.results.size(), b.results.size());
    for (size_t r = 0; r < results && !ignore_names_; ++r) {
      const std::string& before = a_.value(a.results[r]).name;
      const std::string& after = b_.value(b.results[r]).name;
      if (before == after) continue;
      Report(ChangeKind::kRenamed, ResultName(a, r), RoleName(before, base_.layer),
             RoleName(after, base_.layer));
    }
    if (a.op != b.op) {
      Report(ChangeKind::kOperator, "", std::string(a.op->name), std::string(b.op->name));
    }
    CompareAttrs(a, b);
    CompareOperands(a, b);
    for (size_t r = 0; r < results; ++r) {
      CompareTypes(ResultName(a, r), a_.value(a.results[r]).type, b_.value(b.results[r]).type);
    }
    if (moved_[base_.match]) {
      Report(ChangeKind::kOrder, "", PlaceText(line_up_.a, match.a[0]),
             PlaceText(line_up_.b, match.b[0]));
    }
  }

  void CompareAttrs(const Node& a, const Node& b) {
    // Of another operator, attributes that only it has say nothing new.
    const bool same_op = a.op == b.op;
    for (const auto& [name, before] : a.attrs) {
      const auto after = b.attrs.find(name);
      if (after == b.attrs.end()) {
        if (same_op) Report(ChangeKind::kAttribute, name, ToString(before), "none");
      } else if (!SameAttr(before, after->second)) {
        Report(ChangeKind::kAttribute, name, ToString(before), ToString(after->second));
      }
    }
    for (const auto& [name, after] : b.attrs) {
      if (same_op && a.attrs.find(name) == a.attrs.end()) {
        Report(ChangeKind::kAttribute, name, "none", ToString(after));
      }
    }
  }

  void CompareOperands(const Node& a, const Node& b) {
    for (size_t slot = 0; slot < std::min(a.operands.size(), b.operands.size()); ++slot) {
      const std::string_view name = a.op->operands[slot].name;
      // Operands of different operators are comparable where they play the same part.
      if (name != b.op->operands[slot].name) continue;
      const ValueId before = a.operands[slot], after = b.operands[slot];
      if (SameValue(line_up_, before, after)) continue;
      std::string text_a = ValueText(a_, before, base_.layer);
      std::string text_b = ValueText(b_, after, base_.layer);
      if (text_a == text_b) {
        AppendOp(line_up_.a, before, &text_a);
        AppendOp(line_up_.b, after, &text_b);
      }
      Report(ChangeKind::kOperand, std::string(name), std::move(text_a), std::move(text_b));
    }
  }

  // Tells values of one name apart that are different things.
  static void AppendOp(const LineUpSide& side, ValueId id, std::string* text) {
    if (id == kNoValue || side.producer[id] < 0) return;
    StrAppend(text, " (", side.graph.nodes[side.producer[id]].op->name, ")");
  }

  void CompareTypes(const std::string& what, const TensorType& a, const TensorType& b) {
    if (a.dtype != b.dtype) {
      Report(ChangeKind::kType, what, std::string(Name(a.dtype)), std::string(Name(b.dtype)));
    }
    if (a.shape != b.shape) Report(ChangeKind::kShape, what, ShapeText(a, b), ShapeText(b, a));
  }

  void CompareMany(const NodeMatch& match) {
    const ChangeKind kind = match.b.size() == 1   ? ChangeKind::kFused
                            : match.a.size() == 1 ? ChangeKind::kSplit
                                                  : ChangeKind::kRewritten;
    Report(kind, "", RolesText(a_, match.a), RolesText(b_, match.b));
    CompareManyAttrs(match);
    CompareManyInputs(match);
    const ValueId last_a = LastValue(a_, match.a), last_b = LastValue(b_, match.b);
    if (a_.value(last_a).name == b_.value(last_b).name) {
      CompareTypes("", a_.value(last_a).type, b_.value(last_b).type);
    }
  }

  static ValueId LastValue(const Graph& graph, const std::vector<int>& nodes) {
    return graph.nodes[nodes.back()].results[0];
  }

  std::string RolesText(const Graph& graph, const std::vector<int>& nodes) const {
    std::vector<std::string> roles;
    for (const int n : nodes) roles.push_back(NodeRole(graph, graph.nodes[n], base_.layer));
    return JoinRoles(roles, " ");
  }

  // An attribute that has one value on each side.
  static std::unordered_map<std::string_view, const AttrValue*> ClearAttrs(
      const Graph& graph, const std::vector<int>& nodes) {
    std::unordered_map<std::string_view, const AttrValue*> attrs;
    for (const int n : nodes) {
      for (const auto& [name, value] : graph.nodes[n].attrs) {
        const auto [found, added] = attrs.emplace(name, &value);
        if (!added && found->second != nullptr && !SameAttr(*found->second, value)) {
          found->second = nullptr;
        }
      }
    }
    return attrs;
  }

  void CompareManyAttrs(const NodeMatch& match) {
    const auto of_a = ClearAttrs(a_, match.a);
    const auto of_b = ClearAttrs(b_, match.b);
    std::set<std::string_view> names;
    for (const auto& [name, value] : of_a) {
      const auto found = of_b.find(name);
      if (value == nullptr || found == of_b.end() || found->second == nullptr) continue;
      if (!SameAttr(*value, *found->second)) names.insert(name);
    }
    for (const std::string_view name : names) {
      Report(ChangeKind::kAttribute, std::string(name), ToString(*of_a.at(name)),
             ToString(*of_b.at(name)));
    }
  }

  // What they read from outside, as a set: which node of the many reads it does not matter.
  std::vector<std::pair<uint64_t, ValueId>> Inputs(const LineUpSide& side,
                                                   const std::vector<int>& nodes) const {
    std::vector<std::pair<uint64_t, ValueId>> inputs;
    for (const int n : nodes) {
      for (const ValueId id : side.graph.nodes[n].operands) {
        if (id == kNoValue) continue;
        const int producer = side.producer[id];
        if (producer >= 0 && side.match_of[producer] == base_.match) continue;
        // A value that only this side has is told by itself.
        const uint64_t key = line_up_.ValueKey(side, id);
        inputs.emplace_back(key != 0 ? key : MixPrint(&side == &line_up_.a ? 31 : 37, id), id);
      }
    }
    std::stable_sort(inputs.begin(), inputs.end(),
                     [](const auto& x, const auto& y) { return x.first < y.first; });
    inputs.erase(std::unique(inputs.begin(), inputs.end(),
                             [](const auto& x, const auto& y) { return x.first == y.first; }),
                 inputs.end());
    return inputs;
  }

  std::string OnlyIn(const Graph& graph, const std::vector<std::pair<uint64_t, ValueId>>& inputs,
                     const std::vector<std::pair<uint64_t, ValueId>>& others) const {
    std::vector<ValueId> ids;
    for (const auto& input : inputs) {
      const auto less = [](const auto& x, const auto& y) { return x.first < y.first; };
      if (!std::binary_search(others.begin(), others.end(), input, less)) {
        ids.push_back(input.second);
      }
    }
    std::sort(ids.begin(), ids.end());
    std::vector<std::string> texts;
    for (const ValueId id : ids) texts.push_back(ValueText(graph, id, base_.layer));
    return texts.empty() ? "none" : StrJoin(texts, " ");
  }

  void CompareManyInputs(const NodeMatch& match) {
    const auto of_a = Inputs(line_up_.a, match.a);
    const auto of_b = Inputs(line_up_.b, match.b);
    std::string before = OnlyIn(a_, of_a, of_b), after = OnlyIn(b_, of_b, of_a);
    if (before == "none" && after == "none") return;
    Report(ChangeKind::kOperand, "inputs", std::move(before), std::move(after));
  }

  std::string PlaceText(const LineUpSide& side, int n) const {
    if (n == 0) return "first";
    return StrCat("after ", RoleName(side.name(n - 1), base_.layer));
  }

  // Of the nodes that are one on both sides.
  std::vector<bool> MovedMatches() const {
    std::vector<int> positions;
    std::vector<int> matches;
    for (size_t m = 0; m < line_up_.matches.size(); ++m) {
      if (!line_up_.IsSingle(static_cast<int>(m))) continue;
      positions.push_back(line_up_.matches[m].a[0]);
      matches.push_back(static_cast<int>(m));
    }
    const std::vector<bool> moved = FewestMoved(positions);
    std::vector<bool> by_match(line_up_.matches.size(), false);
    for (size_t i = 0; i < matches.size(); ++i) by_match[matches[i]] = moved[i];
    return by_match;
  }

  const LineUp& line_up_;
  const Graph& a_;
  const Graph& b_;
  const bool ignore_names_;
  std::vector<Change>& changes_;
  const std::vector<bool> moved_;
  Change base_;
};

}  // namespace

void FindNodeChanges(const LineUp& line_up, bool ignore_names, std::vector<Change>* changes) {
  NodeChanges(line_up, ignore_names, changes).Find();
}

}  // namespace renga
