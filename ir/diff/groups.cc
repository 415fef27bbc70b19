#include "ir/diff/groups.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "ir/base/strings.h"
#include "ir/diff/label.h"

namespace renga {
namespace {

// Parts of a key may hold any bytes; their lengths keep them apart.
void AddPart(std::string_view part, std::string* key) { StrAppend(key, part.size(), ":", part); }

std::string RoleOf(const Graph& a, const Graph& b, const GraphDiff& diff, const Change& change) {
  // A change of operator names both operators itself.
  if (change.match < 0 || change.kind == ChangeKind::kOperator) {
    return RoleName(change.b_name.empty() ? change.a_name : change.b_name, change.layer);
  }
  const NodeMatch& match = diff.matches[change.match];
  if (match.b.empty()) return NodeRole(a, a.nodes[match.a.back()], change.layer);
  return NodeRole(b, b.nodes[match.b.back()], change.layer);
}

// Roles can be told together where the rest of the line is the same for all of them; a line of its
// own reads better for what tells before and after by name.
bool RolesMerge(ChangeKind kind) {
  switch (kind) {
    case ChangeKind::kAdded:
    case ChangeKind::kRemoved:
    case ChangeKind::kAttribute:
    case ChangeKind::kOperator:
    case ChangeKind::kOperand:
    case ChangeKind::kType:
    case ChangeKind::kShape:
    case ChangeKind::kWeightType:
    case ChangeKind::kWeightValues:
      return true;
    case ChangeKind::kFused:
    case ChangeKind::kSplit:
    case ChangeKind::kRewritten:
    case ChangeKind::kRenamed:
    case ChangeKind::kOrder:
      return false;
  }
  return false;
}

std::string KeyOf(const Change& change, std::string_view role) {
  std::string key;
  StrAppend(&key, static_cast<int>(change.kind), "/", static_cast<int>(change.subject), "/");
  AddPart(role, &key);
  AddPart(change.what, &key);
  AddPart(change.before, &key);
  AddPart(change.after, &key);
  // Outside layers names are whole, so equal keys are the same change; it merges with no layer.
  key += change.layer < 0 ? "-" : "+";
  return key;
}

std::string KeyWithoutRole(const ChangeGroup& group) {
  std::string key;
  StrAppend(&key, static_cast<int>(group.kind), "/", static_cast<int>(group.subject), "/");
  AddPart(group.what, &key);
  AddPart(group.before, &key);
  AddPart(group.after, &key);
  StrAppend(&key, StrJoin(group.layers, ","));
  return key;
}

void SortOnce(std::vector<int>* numbers) {
  std::sort(numbers->begin(), numbers->end());
  numbers->erase(std::unique(numbers->begin(), numbers->end()), numbers->end());
}

}  // namespace

std::vector<ChangeGroup> GroupChanges(const Graph& a, const Graph& b, const GraphDiff& diff) {
  std::vector<ChangeGroup> by_role;
  std::unordered_map<std::string, size_t> index;
  for (size_t i = 0; i < diff.changes.size(); ++i) {
    const Change& change = diff.changes[i];
    std::string role = RoleOf(a, b, diff, change);
    const auto [found, added] = index.emplace(KeyOf(change, role), by_role.size());
    if (added) {
      by_role.push_back({.kind = change.kind,
                         .subject = change.subject,
                         .role = std::move(role),
                         .what = change.what,
                         .before = change.before,
                         .after = change.after});
    }
    ChangeGroup& group = by_role[found->second];
    if (change.layer >= 0) group.layers.push_back(change.layer);
    group.changes.push_back(static_cast<int>(i));
  }

  std::vector<ChangeGroup> groups;
  std::vector<std::vector<std::string>> roles;
  index.clear();
  for (ChangeGroup& group : by_role) {
    SortOnce(&group.layers);
    if (RolesMerge(group.kind)) {
      const auto [found, added] = index.emplace(KeyWithoutRole(group), groups.size());
      if (!added) {
        ChangeGroup& into = groups[found->second];
        into.changes.insert(into.changes.end(), group.changes.begin(), group.changes.end());
        roles[found->second].push_back(std::move(group.role));
        continue;
      }
    }
    roles.push_back({group.role});
    groups.push_back(std::move(group));
  }
  for (size_t i = 0; i < groups.size(); ++i) {
    std::sort(groups[i].changes.begin(), groups[i].changes.end());
    if (roles[i].size() > 1) groups[i].role = JoinRoles(roles[i], ", ");
  }
  return groups;
}

}  // namespace renga
