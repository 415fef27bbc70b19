#include "passes/core/attempt.h"

#include <algorithm>

namespace renga {
namespace {

// Readers of one value that are looked through for a part.
constexpr size_t kMaxReaders = 64;

// A name for an open attribute in a pattern: "$scale" -> "scale". Empty for a constant.
std::string_view OpenAttr(const AttrValue& value) {
  const std::string* text = std::get_if<std::string>(&value);
  if (text == nullptr || !text->starts_with('$')) return "";
  return std::string_view(*text).substr(1);
}

std::string AttrText(const std::optional<AttrValue>& value) {
  return value.has_value() ? ToString(*value) : "absent";
}

}  // namespace

Attempt::Attempt(const Matcher& matcher, const Matcher::Pattern& pattern)
    : m_(matcher), pattern_(pattern), parts_(pattern.parts.graph) {
  state_.bound.resize(parts_.values.size());
  state_.node_of.assign(parts_.nodes.size(), -1);
}

std::optional<Match> Attempt::Run(int index) {
  if (!MatchNode(pattern_.anchor, index) || !MatchRest()) return std::nullopt;
  return Result();
}

// Of reasons that came equally far the last counts: nodes are tried in the graph's order, in which
// the right one stands where the decomposition has it too.
bool Attempt::Fail(std::string why) {
  int returns = 0;
  for (ValueId id : parts_.returns) returns += Known(id) != kNoValue;
  if (returns >= obstacle_.returns) obstacle_ = {returns, state_.checks, std::move(why)};
  return false;
}

bool Attempt::IsTaken(int node) const {
  return std::find(state_.node_of.begin(), state_.node_of.end(), node) != state_.node_of.end();
}

bool Attempt::MatchNode(int part, int index) {
  if (state_.node_of[part] >= 0) {
    // Reached before, through another operand.
    return state_.node_of[part] == index ||
           Fail(StrCat(NodeRef(index), " is not ", NodeRef(state_.node_of[part])));
  }
  const Node& want = parts_.nodes[part];
  const Node& got = m_.graph_.nodes[index];
  if (IsTaken(index)) return Fail(StrCat(NodeRef(index), " stands for two parts"));
  if (m_.used_[index]) return Fail(StrCat(NodeRef(index), " is part of another match"));
  state_.node_of[part] = index;
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

bool Attempt::MatchOutside(const Node& want, const Node& got, int index, size_t operand) {
  const std::string_view name = got.op->operands[operand].name;
  const ValueId open = want.operands[operand], value = got.operands[operand];
  if (open == kNoValue || value == kNoValue) {
    if (open == value) return Pass();
    return Fail(open == kNoValue ? StrCat(NodeRef(index), " has ", name, " ", Ref(value))
                                 : StrCat(NodeRef(index), " has no ", name));
  }
  if (parts_.value(open).kind == ValueKind::kWeight &&
      m_.graph_.value(value).kind != ValueKind::kWeight) {
    return Fail(StrCat(name, " of ", NodeRef(index), " is ", Ref(value), ", expected a weight"));
  }
  Bound& bound = state_.bound[open];
  if (bound.node < 0) bound = {value, index};
  if (bound.value == value) {
    state_.reads.push_back({value, index});
    return Pass();
  }
  return Fail(StrCat(name, " is ", Ref(value), " in ", NodeRef(index), ", ", Ref(bound.value),
                     " in ", NodeRef(bound.node)));
}

bool Attempt::MatchInside(const Node& want, const Node& got, size_t operand) {
  const ValueId inner = want.operands[operand], value = got.operands[operand];
  const int part = pattern_.uses.producer[inner];
  const std::string_view op = parts_.nodes[part].op->name;
  if (value == kNoValue) {
    return Fail(StrCat(Ref(got.results[0]), " has no ", got.op->operands[operand].name));
  }
  const int producer = m_.uses_.producer[value];
  if (producer < 0) {
    return Fail(StrCat(Ref(value), " is an input of the graph, expected a result of ", op));
  }
  if (m_.graph_.nodes[producer].op != parts_.nodes[part].op) {
    return Fail(StrCat(Ref(value), " is a result of ", m_.graph_.nodes[producer].op->name,
                       ", expected one of ", op));
  }
  return MatchUsers(inner, value) && Pass() && MatchNode(part, producer);
}

bool Attempt::MatchUsers(ValueId pattern_value, ValueId value) {
  if (pattern_.returned[pattern_value]) return true;
  if (m_.returned_[value]) return Fail(StrCat(Ref(value), " is returned"));
  if (m_.uses_.count[value] != pattern_.uses.count[pattern_value]) {
    return Fail(StrCat(Ref(value), " has ", m_.uses_.count[value], " users"));
  }
  return true;
}

bool Attempt::MatchAttrs(const Node& want, const Node& got, int index) {
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
    const auto [bound, added] = state_.attrs.try_emplace(open, BoundAttr{value, index});
    if (added || bound->second.value == value) continue;
    return Fail(StrCat(name, " is ", AttrText(value), " in ", NodeRef(index), ", ",
                       AttrText(bound->second.value), " in ", NodeRef(bound->second.node)));
  }
  return Pass();
}

// The value of the graph that a value of the pattern is known to be; kNoValue while it is not.
ValueId Attempt::Known(ValueId pattern_value) const {
  if (pattern_value == kNoValue) return kNoValue;
  const int part = pattern_.uses.producer[pattern_value];
  if (part < 0) return state_.bound[pattern_value].value;
  const int node = state_.node_of[part];
  return node < 0 ? kNoValue : m_.graph_.nodes[node].results[0];
}

// Of the last such part the operand with the fewest readers: what all layers share has too many.
std::optional<Attempt::Open> Attempt::NextOpen() const {
  for (int part = static_cast<int>(parts_.nodes.size()) - 1; part >= 0; --part) {
    const std::vector<ValueId>& operands = parts_.nodes[part].operands;
    const bool waits = std::any_of(operands.begin(), operands.end(), [&](ValueId id) {
      return IsInside(id) && Known(id) == kNoValue;
    });
    if (state_.node_of[part] >= 0 || waits) continue;
    Open open;
    for (size_t i = 0; i < operands.size(); ++i) {
      const ValueId value = Known(operands[i]);
      if (value == kNoValue || m_.readers_[value].size() > kMaxReaders) continue;
      if (open.value != kNoValue && m_.readers_[value].size() >= m_.readers_[open.value].size()) {
        continue;
      }
      open = {part, i, value};
    }
    if (open.value != kNoValue) return open;
  }
  return std::nullopt;
}

bool Attempt::MatchRest() {
  if (std::find(state_.node_of.begin(), state_.node_of.end(), -1) == state_.node_of.end()) {
    return CheckPlace();
  }
  const std::optional<Open> open = NextOpen();
  if (!open.has_value()) {
    return Fail(StrCat("what it reads has more than ", kMaxReaders, " users"));
  }
  const Node& want = parts_.nodes[open->part];
  std::vector<int> choices;
  int other = -1;
  for (int reader : m_.readers_[open->value]) {
    const Node& got = m_.graph_.nodes[reader];
    if (IsTaken(reader) || m_.used_[reader]) continue;
    if (got.op == want.op && got.operands[open->operand] == open->value) {
      choices.push_back(reader);
    } else {
      other = reader;
    }
  }
  if (choices.empty()) {
    return Fail(other < 0
                    ? StrCat(Ref(open->value), " is not read by ", want.op->name)
                    : StrCat(Ref(open->value), " is read by ", m_.graph_.nodes[other].op->name, " ",
                             NodeRef(other), ", expected ", want.op->name));
  }
  // All missing parts of this kind need a node each.
  int needed = 0;
  for (size_t part = 0; part < parts_.nodes.size(); ++part) {
    const Node& node = parts_.nodes[part];
    needed += state_.node_of[part] < 0 && node.op == want.op &&
              node.operands[open->operand] == want.operands[open->operand];
  }
  if (static_cast<int>(choices.size()) < needed) {
    return Fail(StrCat(Ref(open->value), " is read by ", choices.size(), " more ", want.op->name,
                       ", expected ", needed));
  }
  const State before = state_;
  for (int choice : choices) {
    state_ = before;
    if (MatchNode(open->part, choice) && MatchRest()) return true;
  }
  state_ = before;
  return false;
}

bool Attempt::CheckPlace() {
  for (const Node& part : parts_.nodes) {
    if (!MatchUsers(part.results[0], Known(part.results[0]))) return false;
  }
  const int last = *std::max_element(state_.node_of.begin(), state_.node_of.end());
  for (const auto& [value, reader] : state_.reads) {
    const int producer = m_.uses_.producer[value];
    if (producer >= 0 && IsTaken(producer)) {
      return Fail(StrCat(NodeRef(reader), " reads ", Ref(value), ", which the match computes"));
    }
    const int writer = m_.overwritten_by_[value];
    if (writer <= reader || writer >= last || IsTaken(writer)) continue;
    return Fail(StrCat(Ref(value), ", which ", NodeRef(reader), " reads, is overwritten by ",
                       NodeRef(writer), " before ", NodeRef(last)));
  }
  for (ValueId pattern_value : parts_.returns) {
    const ValueId value = Known(pattern_value);
    for (int reader : m_.readers_[value]) {
      if (reader >= last) break;
      if (IsTaken(reader)) continue;
      return Fail(StrCat(Ref(value), " is read by ", NodeRef(reader), " before ", NodeRef(last)));
    }
  }
  return true;
}

Match Attempt::Result() const {
  Match match;
  match.nodes = state_.node_of;
  std::sort(match.nodes.begin(), match.nodes.end());
  for (ValueId id : parts_.returns) match.results.push_back(Known(id));
  for (ValueId id : pattern_.parts.operands) {
    match.operands.push_back(id == kNoValue ? kNoValue : state_.bound[id].value);
  }
  for (const auto& [name, attr] : state_.attrs) {
    if (attr.value.has_value()) match.attrs.emplace(name, *attr.value);
  }
  return match;
}

}  // namespace renga
