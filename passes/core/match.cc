#include "passes/core/match.h"

#include <algorithm>
#include <map>
#include <string_view>
#include <utility>

#include "ir/base/status.h"

namespace renga {
namespace {

// A name for an open attribute in a pattern: "$scale" -> "scale". Empty for a constant.
std::string_view OpenAttr(const AttrValue& value) {
  const std::string* text = std::get_if<std::string>(&value);
  if (text == nullptr || !text->starts_with('$')) return "";
  return std::string_view(*text).substr(1);
}

std::string AttrText(const std::optional<AttrValue>& value) {
  return value.has_value() ? ToString(*value) : "absent";
}

// Every choice of the optional operands, those with most first.
std::vector<std::vector<bool>> Presences(const OpDef& op) {
  std::vector<std::vector<bool>> all = {std::vector<bool>(op.operands.size(), true)};
  for (size_t i = 0; i < op.operands.size(); ++i) {
    const size_t before = all.size();
    for (size_t p = 0; op.operands[i].optional && p < before; ++p) {
      all.push_back(all[p]);
      all.back()[i] = false;
    }
  }
  return all;
}

}  // namespace

// One pattern held against the nodes that end in one node.
class Attempt {
 public:
  Attempt(const Matcher& matcher, size_t pattern)
      : m_(matcher),
        pattern_(matcher.patterns_[pattern].graph),
        pattern_uses_(matcher.pattern_uses_[pattern]),
        bound_(pattern_.values.size()),
        node_of_(pattern_.nodes.size(), -1) {}

  bool Run(int index) {
    root_ = index;
    return MatchNode(pattern_uses_.producer[pattern_.returns[0]], index) && CheckOverwritten();
  }

  const std::string& why() const { return why_; }
  int progress() const { return progress_; }  // checks passed

  Match Result(const std::vector<ValueId>& pattern_operands) const {
    Match match;
    match.nodes = node_of_;
    std::sort(match.nodes.begin(), match.nodes.end());
    for (ValueId id : pattern_operands) {
      match.operands.push_back(id == kNoValue ? kNoValue : bound_[id].value);
    }
    for (const auto& [name, attr] : attrs_) {
      if (attr.value.has_value()) match.attrs.emplace(name, *attr.value);
    }
    return match;
  }

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

  bool Fail(std::string why) {
    why_ = std::move(why);
    return false;
  }
  bool Pass() {
    ++progress_;
    return true;
  }

  std::string Ref(ValueId id) const { return RefText(m_.graph_.value(id)); }
  std::string NodeRef(int node) const { return Ref(m_.graph_.nodes[node].results[0]); }

  bool MatchNode(int part, int index) {
    if (node_of_[part] >= 0) {
      // Reached before, through another operand.
      return node_of_[part] == index ||
             Fail(StrCat(NodeRef(index), " is not ", NodeRef(node_of_[part])));
    }
    const Node& want = pattern_.nodes[part];
    const Node& got = m_.graph_.nodes[index];
    node_of_[part] = index;
    if (!MatchAttrs(want, got, index)) return false;
    // First what the node reads from outside, then what it is made of.
    for (const bool inside : {false, true}) {
      for (size_t i = 0; i < want.operands.size(); ++i) {
        if (IsInside(want.operands[i]) != inside) continue;
        if (!(inside ? MatchInside(want, got, i) : MatchOutside(want, got, index, i))) return false;
      }
    }
    return Pass();
  }

  bool IsInside(ValueId pattern_value) const {
    return pattern_value != kNoValue && pattern_uses_.producer[pattern_value] >= 0;
  }

  bool MatchOutside(const Node& want, const Node& got, int index, size_t operand) {
    const std::string_view name = got.op->operands[operand].name;
    const ValueId open = want.operands[operand], value = got.operands[operand];
    if (open == kNoValue || value == kNoValue) {
      if (open == value) return Pass();
      return Fail(open == kNoValue ? StrCat(NodeRef(index), " has ", name, " ", Ref(value))
                                   : StrCat(NodeRef(index), " has no ", name));
    }
    if (pattern_.value(open).kind == ValueKind::kWeight &&
        m_.graph_.value(value).kind != ValueKind::kWeight) {
      return Fail(StrCat(name, " of ", NodeRef(index), " is ", Ref(value), ", expected a weight"));
    }
    Bound& bound = bound_[open];
    if (bound.node < 0) bound = {value, index};
    if (bound.value == value) {
      readers_.push_back({value, index});
      return Pass();
    }
    return Fail(StrCat(name, " is ", Ref(value), " in ", NodeRef(index), ", ", Ref(bound.value),
                       " in ", NodeRef(bound.node)));
  }

  bool MatchInside(const Node& want, const Node& got, size_t operand) {
    const ValueId inner = want.operands[operand], value = got.operands[operand];
    const int part = pattern_uses_.producer[inner];
    const std::string_view op = pattern_.nodes[part].op->name;
    if (value == kNoValue) {
      return Fail(StrCat(Ref(got.results[0]), " has no ", got.op->operands[operand].name));
    }
    const int producer = m_.uses_.producer[value];
    if (producer < 0) {
      return Fail(StrCat(Ref(value), " is an input of the graph, expected a result of ", op));
    }
    if (m_.graph_.nodes[producer].op != pattern_.nodes[part].op) {
      return Fail(StrCat(Ref(value), " is a result of ", m_.graph_.nodes[producer].op->name,
                         ", expected one of ", op));
    }
    if (m_.returned_[value]) return Fail(StrCat(Ref(value), " is returned"));
    if (m_.uses_.count[value] != pattern_uses_.count[inner]) {
      return Fail(StrCat(Ref(value), " has ", m_.uses_.count[value], " users"));
    }
    return Pass() && MatchNode(part, producer);
  }

  bool MatchAttrs(const Node& want, const Node& got, int index) {
    for (const AttrDef& def : got.op->attrs) {
      const std::string name(def.name);
      std::optional<AttrValue> value;
      if (const auto found = got.attrs.find(name); found != got.attrs.end()) value = found->second;
      std::optional<AttrValue> wanted;
      if (const auto found = want.attrs.find(name); found != want.attrs.end()) {
        wanted = found->second;
      }
      const std::string open(wanted.has_value() ? OpenAttr(*wanted) : "");
      if (open.empty()) {
        if (value == wanted) continue;
        return Fail(StrCat(name, " is ", AttrText(value), " in ", NodeRef(index), ", expected ",
                           AttrText(wanted)));
      }
      const auto [bound, added] = attrs_.try_emplace(open, BoundAttr{value, index});
      if (added || bound->second.value == value) continue;
      return Fail(StrCat(name, " is ", AttrText(value), " in ", NodeRef(index), ", ",
                         AttrText(bound->second.value), " in ", NodeRef(bound->second.node)));
    }
    return Pass();
  }

  // The parts move down to the last of them, and must read there what they read before.
  bool CheckOverwritten() {
    for (const auto& [value, reader] : readers_) {
      const int writer = m_.overwritten_by_[value];
      if (writer <= reader || writer >= root_) continue;
      return Fail(StrCat(Ref(value), ", which ", NodeRef(reader), " reads, is overwritten by ",
                         NodeRef(writer), " before ", NodeRef(root_)));
    }
    return Pass();
  }

  const Matcher& m_;
  const Graph& pattern_;
  const Uses& pattern_uses_;
  std::vector<Bound> bound_;  // by value of the pattern
  std::vector<int> node_of_;  // by node of the pattern
  std::map<std::string, BoundAttr, std::less<>> attrs_;
  std::vector<std::pair<ValueId, int>> readers_;  // operand of the fused node, node that reads it
  int root_ = -1;
  int progress_ = 0;
  std::string why_;
};

absl::StatusOr<Matcher> Matcher::Create(const Graph& graph, const OpDef& fused) {
  if (!fused.fused() || fused.results != 1) {
    return absl::InternalError(
        StrCat("match: expected a fused operator with one result, got ", fused.name));
  }
  Matcher matcher(graph, fused);
  for (const std::vector<bool>& present : Presences(fused)) {
    RENGA_ASSIGN_OR_RETURN(Decomposition pattern, DecompositionPattern(fused, present));
    matcher.pattern_uses_.push_back(ComputeUses(pattern.graph));
    matcher.patterns_.push_back(std::move(pattern));
  }
  const Graph& any = matcher.patterns_[0].graph;
  matcher.root_ = any.nodes[matcher.pattern_uses_[0].producer[any.returns[0]]].op;
  matcher.uses_ = ComputeUses(graph);
  matcher.returned_.assign(graph.values.size(), false);
  for (ValueId id : graph.returns) matcher.returned_[id] = true;
  matcher.overwritten_by_.assign(graph.values.size(), -1);
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    for (const Alias& alias : graph.nodes[n].op->aliases) {
      const ValueId id = graph.nodes[n].operands[alias.operand];
      if (id != kNoValue) matcher.overwritten_by_[id] = static_cast<int>(n);
    }
  }
  return matcher;
}

std::optional<Match> Matcher::At(int index, std::string* why) const {
  int best = -1;
  for (size_t p = 0; p < patterns_.size(); ++p) {
    Attempt attempt(*this, p);
    if (attempt.Run(index)) return attempt.Result(patterns_[p].operands);
    // The reason that counts is that of the pattern that came nearest.
    if (attempt.progress() >= best) {
      best = attempt.progress();
      *why = attempt.why();
    }
  }
  return std::nullopt;
}

}  // namespace renga
