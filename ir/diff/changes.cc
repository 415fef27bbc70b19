#include "ir/diff/changes.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "ir/base/strings.h"
#include "ir/diff/label.h"
#include "ir/diff/moved.h"

namespace renga {
namespace {

// Equal for returns of lined-up values; a value that is not lined up is told by its id and side.
uint64_t ReturnKey(const LineUp& line_up, const LineUpSide& side, ValueId id) {
  const uint64_t key = line_up.ValueKey(side, id);
  return key != 0 ? key : MixPrint(&side == &line_up.a ? 37 : 41, id);
}

std::string ReturnText(const LineUpSide& side, ValueId id, std::string_view other) {
  const Value& value = side.graph.value(id);
  if (value.name != other || side.producer[id] < 0) return value.name;
  return StrCat(value.name, " (", side.graph.nodes[side.producer[id]].op->name, ")");
}

}  // namespace

bool SameValue(const LineUp& line_up, ValueId a, ValueId b) {
  if (a == kNoValue || b == kNoValue) return a == b;
  const uint64_t key = line_up.ValueKey(line_up.a, a);
  return key != 0 && key == line_up.ValueKey(line_up.b, b);
}

std::string ValueText(const Graph& graph, ValueId id, int layer) {
  return id == kNoValue ? "none" : RoleName(graph.value(id).name, layer);
}

std::string ShapeText(const TensorType& type, const TensorType& other) {
  const std::string text = ToString(type);
  return type.dtype == other.dtype ? text : text.substr(text.find('['));
}

void FindReturnChanges(const LineUp& line_up, bool ignore_names, std::vector<Change>* changes) {
  const std::vector<ValueId>& a = line_up.a.graph.returns;
  const std::vector<ValueId>& b = line_up.b.graph.returns;
  std::unordered_map<uint64_t, std::vector<int>> places;  // in a, last first
  for (size_t i = a.size(); i-- > 0;) {
    places[ReturnKey(line_up, line_up.a, a[i])].push_back(static_cast<int>(i));
  }
  std::vector<int> met(b.size(), -1);  // place in a
  std::vector<bool> taken(a.size(), false);
  // Of several values that were fused into one node each goes by its own name, where it has kept
  // it.
  for (const bool by_name : {true, false}) {
    if (by_name && ignore_names) continue;
    for (size_t i = 0; i < b.size(); ++i) {
      if (met[i] >= 0) continue;
      std::vector<int>& open = places[ReturnKey(line_up, line_up.b, b[i])];
      const auto found = std::find_if(open.rbegin(), open.rend(), [&](int place) {
        return !by_name || line_up.a.graph.value(a[place]).name == line_up.b.graph.value(b[i]).name;
      });
      if (found == open.rend()) continue;
      met[i] = *found;
      open.erase(std::next(found).base());
      taken[met[i]] = true;
    }
  }
  std::vector<int> positions, returned;
  for (size_t i = 0; i < b.size(); ++i) {
    if (met[i] < 0) continue;
    positions.push_back(met[i]);
    returned.push_back(static_cast<int>(i));
  }
  const auto change = [&](ChangeKind kind, int of_a, int of_b) {
    Change c{.kind = kind, .subject = Subject::kReturn};
    if (of_a >= 0) c.a_name = line_up.a.graph.value(a[of_a]).name;
    if (of_b >= 0) c.b_name = line_up.b.graph.value(b[of_b]).name;
    c.layer = LayerOf(of_b >= 0 ? c.b_name : c.a_name);
    return c;
  };
  for (size_t i = 0; i < std::max(a.size(), b.size()); ++i) {
    const int n = static_cast<int>(i);
    const bool open_a = i < a.size() && !taken[i];
    const bool open_b = i < b.size() && met[i] < 0;
    if (open_a && open_b) {
      // Nodes that traded places around it: another one computes what goes by this name now, which
      // the changes of the nodes say.
      const Value& before = line_up.a.graph.value(a[i]);
      const Value& after = line_up.b.graph.value(b[i]);
      if (!ignore_names && before.name == after.name && before.type == after.type) continue;
      Change c = change(ChangeKind::kOperand, n, n);
      c.what = StrCat("return ", i);
      c.before = ReturnText(line_up.a, a[i], c.b_name);
      c.after = ReturnText(line_up.b, b[i], c.a_name);
      changes->push_back(std::move(c));
    } else if (open_a) {
      changes->push_back(change(ChangeKind::kRemoved, n, -1));
    } else if (open_b) {
      changes->push_back(change(ChangeKind::kAdded, -1, n));
    }
  }
  const std::vector<bool> moved = FewestMoved(positions);
  for (size_t i = 0; i < returned.size(); ++i) {
    if (!moved[i]) continue;
    Change c = change(ChangeKind::kOrder, positions[i], returned[i]);
    c.before = StrCat("place ", positions[i] + 1);
    c.after = StrCat("place ", returned[i] + 1);
    changes->push_back(std::move(c));
  }
}

std::vector<Change> FindChanges(const LineUp& line_up, bool ignore_names) {
  std::vector<Change> changes;
  FindLeafChanges(line_up, ignore_names, &changes);
  FindNodeChanges(line_up, ignore_names, &changes);
  FindReturnChanges(line_up, ignore_names, &changes);
  return changes;
}

}  // namespace renga
