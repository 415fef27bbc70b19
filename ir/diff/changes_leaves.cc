// Changes of what no node computes: symbols, parameters, caches, weights.
#include <unordered_map>
#include <utility>

#include "ir/base/strings.h"
#include "ir/diff/changes.h"
#include "ir/diff/label.h"
#include "ir/diff/moved.h"

namespace renga {
namespace {

std::string BoundsText(const SymbolDef& symbol) { return StrCat(symbol.min, "..", symbol.max); }

void FindSymbolChanges(const Graph& a, const Graph& b, std::vector<Change>* changes) {
  for (const SymbolDef& before : a.symbols) {
    const SymbolDef* after = b.FindSymbol(before.name);
    if (after != nullptr && *after == before) continue;
    Change change{.kind = after == nullptr ? ChangeKind::kRemoved : ChangeKind::kShape,
                  .subject = Subject::kSymbol,
                  .a_name = before.name,
                  .before = BoundsText(before)};
    if (after != nullptr) {
      change.b_name = after->name;
      change.after = BoundsText(*after);
    }
    changes->push_back(std::move(change));
  }
  for (const SymbolDef& after : b.symbols) {
    if (a.FindSymbol(after.name) != nullptr) continue;
    changes->push_back({.kind = ChangeKind::kAdded,
                        .subject = Subject::kSymbol,
                        .b_name = after.name,
                        .after = BoundsText(after)});
  }
}

void ComparePair(const LineUp& line_up, Subject subject, ValueId id_a, ValueId id_b,
                 bool ignore_names, std::vector<Change>* changes) {
  const Value& a = line_up.a.graph.value(id_a);
  const Value& b = line_up.b.graph.value(id_b);
  Change change{.kind = ChangeKind::kRenamed,
                .subject = subject,
                .a_name = a.name,
                .b_name = b.name,
                .layer = LayerInName(b.name)};
  // The name of a packed weight goes with its layout.
  if (a.name != b.name && !ignore_names && a.packed() == b.packed()) {
    change.before = RoleName(a.name, change.layer);
    change.after = RoleName(b.name, change.layer);
    changes->push_back(change);
  }
  if (a.layout != b.layout) {
    Change layout = change;
    layout.kind = ChangeKind::kAttribute;
    layout.what = "layout";
    layout.before = a.packed() ? a.layout : "file";
    layout.after = b.packed() ? b.layout : "file";
    changes->push_back(std::move(layout));
  }
  if (a.type.dtype != b.type.dtype) {
    change.kind = subject == Subject::kWeight ? ChangeKind::kWeightType : ChangeKind::kType;
    change.before = Name(a.type.dtype);
    change.after = Name(b.type.dtype);
    changes->push_back(change);
  }
  if (a.type.shape != b.type.shape) {
    change.kind = ChangeKind::kShape;
    change.before = ShapeText(a.type, b.type);
    change.after = ShapeText(b.type, a.type);
    changes->push_back(change);
  }
}

void FindLeafChangesOf(const LineUp& line_up, Subject subject, const std::vector<ValueId>& ids_a,
                       const std::vector<ValueId>& ids_b, bool ignore_names,
                       std::vector<Change>* changes) {
  std::unordered_map<int, ValueId> by_pair;
  std::unordered_map<int, ValueId> by_pair_b;
  std::vector<ValueId> packed_a;
  const auto one_sided = [&](ChangeKind kind, const Value& value) {
    Change change{.kind = kind, .subject = subject, .layer = LayerInName(value.name)};
    (kind == ChangeKind::kAdded ? change.b_name : change.a_name) = value.name;
    (kind == ChangeKind::kAdded ? change.after : change.before) = ToString(value.type);
    changes->push_back(std::move(change));
  };
  for (const ValueId id : ids_a) {
    if (line_up.a.leaf_pair[id] < 0) {
      one_sided(ChangeKind::kRemoved, line_up.a.graph.value(id));
    } else if (!by_pair.emplace(line_up.a.leaf_pair[id], id).second) {
      packed_a.push_back(id);  // joined the pair of its source
    }
  }
  for (const ValueId id : ids_b) {
    if (line_up.b.leaf_pair[id] < 0) {
      one_sided(ChangeKind::kAdded, line_up.b.graph.value(id));
    } else {
      ComparePair(line_up, subject, by_pair.at(line_up.b.leaf_pair[id]), id, ignore_names, changes);
      by_pair_b.emplace(line_up.b.leaf_pair[id], id);
    }
  }
  for (const ValueId id : packed_a) {
    ComparePair(line_up, subject, id, by_pair_b.at(line_up.a.leaf_pair[id]), ignore_names, changes);
  }
}

// The order of parameters is how a caller passes them.
void FindParamOrder(const LineUp& line_up, std::vector<Change>* changes) {
  std::unordered_map<int, int> place_in_a;
  const Graph& a = line_up.a.graph;
  const Graph& b = line_up.b.graph;
  for (size_t i = 0; i < a.params.size(); ++i) {
    if (const int pair = line_up.a.leaf_pair[a.params[i]]; pair >= 0) {
      place_in_a.emplace(pair, static_cast<int>(i));
    }
  }
  std::vector<int> positions;
  std::vector<size_t> params;
  for (size_t i = 0; i < b.params.size(); ++i) {
    const int pair = line_up.b.leaf_pair[b.params[i]];
    if (pair < 0) continue;
    positions.push_back(place_in_a.at(pair));
    params.push_back(i);
  }
  const std::vector<bool> moved = FewestMoved(positions);
  for (size_t i = 0; i < params.size(); ++i) {
    if (!moved[i]) continue;
    changes->push_back({.kind = ChangeKind::kOrder,
                        .subject = Subject::kParam,
                        .a_name = a.value(a.params[positions[i]]).name,
                        .b_name = b.value(b.params[params[i]]).name,
                        .before = StrCat("place ", positions[i] + 1),
                        .after = StrCat("place ", params[i] + 1)});
  }
}

}  // namespace

void FindLeafChanges(const LineUp& line_up, bool ignore_names, std::vector<Change>* changes) {
  const Graph& a = line_up.a.graph;
  const Graph& b = line_up.b.graph;
  FindSymbolChanges(a, b, changes);
  FindLeafChangesOf(line_up, Subject::kParam, a.params, b.params, ignore_names, changes);
  FindParamOrder(line_up, changes);
  FindLeafChangesOf(line_up, Subject::kCache, a.caches, b.caches, ignore_names, changes);
  FindLeafChangesOf(line_up, Subject::kWeight, a.weights, b.weights, ignore_names, changes);
}

}  // namespace renga
