#include "ir/diff/label.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "absl/strings/ascii.h"
#include "ir/base/strings.h"

namespace renga {
namespace {

struct LayerPlace {
  size_t begin = 0;
  size_t end = 0;
  int layer = -1;
};

LayerPlace FindLayer(std::string_view name) {
  for (size_t begin = 0; begin < name.size();) {
    const size_t dot = std::min(name.find('.', begin), name.size());
    const std::string_view part = name.substr(begin, dot - begin);
    // At the end it is an index, not a layer; six digits as in LayerOf.
    const bool number = !part.empty() && part.size() <= 6 && dot < name.size() &&
                        std::all_of(part.begin(), part.end(), absl::ascii_isdigit);
    if (number) {
      int layer = 0;
      for (const char digit : part) layer = layer * 10 + (digit - '0');
      return {begin, dot, layer};
    }
    begin = dot + 1;
  }
  return {};
}

}  // namespace

int LayerInName(std::string_view name) { return FindLayer(name).layer; }

std::string RoleName(std::string_view name, int layer) {
  const LayerPlace place = FindLayer(name);
  if (place.layer < 0 || layer < 0) return std::string(name);
  const std::string_view rest = name.substr(place.end);
  if (place.layer == layer && place.begin == 0) return std::string(rest.substr(1));
  std::string_view word;
  if (place.layer == layer) word = "*";
  if (place.layer == layer - 1) word = "prev";
  if (place.layer == layer + 1) word = "next";
  if (word.empty()) return std::string(name);
  return StrCat(name.substr(0, place.begin), word, rest);
}

std::string NodeRole(const Graph& graph, const Node& node, int layer) {
  std::string role = RoleName(NodeName(graph, node), layer);
  const std::string_view op = node.op->name;
  // A weight tells what a node is as well as its operator does; not so what a fusion made of
  // several.
  for (const ValueId id : node.operands) {
    if (!node.op->fused() && id != kNoValue && graph.value(id).kind == ValueKind::kWeight)
      return role;
  }
  if (role.find(op) != std::string::npos || op.find(role) != std::string_view::npos) return role;
  return StrCat(op, "(", role, ")");
}

std::string JoinRoles(const std::vector<std::string>& roles, std::string_view separator) {
  // In the order of first appearance; "rope(q)" and "rope(k)" share an entry.
  std::vector<std::pair<std::string_view, std::string>> entries;
  std::unordered_map<std::string_view, size_t> by_op;
  for (const std::string& role : roles) {
    const size_t open = role.find('(');
    if (open == std::string::npos || role.back() != ')') {
      entries.emplace_back("", role);
      continue;
    }
    const std::string_view op = std::string_view(role).substr(0, open);
    const std::string_view inner = std::string_view(role).substr(open + 1, role.size() - open - 2);
    const auto [found, added] = by_op.emplace(op, entries.size());
    if (added) {
      entries.emplace_back(op, inner);
    } else {
      StrAppend(&entries[found->second].second, ", ", inner);
    }
  }
  std::vector<std::string> texts;
  for (const auto& [op, text] : entries) {
    texts.push_back(op.empty() ? text : StrCat(op, "(", text, ")"));
  }
  return StrJoin(texts, separator);
}

}  // namespace renga
