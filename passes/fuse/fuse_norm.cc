#include "passes/fuse/fuse_norm.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "ir/base/status.h"
#include "passes/core/fuse.h"
#include "passes/core/provenance.h"

namespace renga {
namespace {

constexpr NormForm kForms[] = {
    {"gate_up", "gate_up"},
    {"head", "head"},
    {"linear", "norm_linear"},
    {"qkv_rope", "qkv_rope"},
};

// rms_norm(x, weight)
constexpr int kX = 0;
constexpr int kWeight = 1;

int OperandIndex(const OpDef& op, std::string_view name) {
  for (size_t i = 0; i < op.operands.size(); ++i) {
    if (op.operands[i].name == name) return static_cast<int>(i);
  }
  return -1;
}

const OpDef* NormedForm(const OpDef& op) {
  for (const NormForm& form : kForms) {
    if (form.plain == op.name) return FindOp(form.normed);
  }
  return nullptr;
}

// Names of operators that can take a norm in: "gate_up, head, ...".
std::string FormNames() {
  std::vector<std::string_view> names;
  for (const NormForm& form : kForms) names.push_back(form.plain);
  return StrJoin(names, ", ");
}

class NormFuser {
 public:
  explicit NormFuser(Graph& graph)
      : graph_(graph), readers_(graph.values.size()), overwriter_(graph.values.size(), -1) {
    for (size_t n = 0; n < graph.nodes.size(); ++n) {
      const Node& node = graph.nodes[n];
      for (ValueId id : node.operands) {
        if (id != kNoValue) readers_[id].push_back(static_cast<int>(n));
      }
      for (const Alias& alias : node.op->aliases) {
        const ValueId id = node.operands[alias.operand];
        if (id != kNoValue) overwriter_[id] = static_cast<int>(n);
      }
    }
  }

  const std::vector<int>& ReadersOf(int norm) const {
    return readers_[graph_.nodes[norm].results[0]];
  }

  // Why the norm cannot go into its readers; empty when it can.
  std::string Obstacle(int norm) const {
    const ValueId normed = graph_.nodes[norm].results[0];
    if (std::find(graph_.returns.begin(), graph_.returns.end(), normed) != graph_.returns.end()) {
      return "it is returned";
    }
    for (int reader : ReadersOf(norm)) {
      if (std::string why = ObstacleAt(norm, reader); !why.empty()) return why;
    }
    return "";
  }

  // Gives every reader its own norm; the norm itself is left without use.
  void Fuse(int norm) {
    const Node from = graph_.nodes[norm];
    bool first = true;
    for (int reader : ReadersOf(norm)) {
      Node& to = graph_.nodes[reader];
      to = Normed(from, to, first);
      first = false;
    }
  }

 private:
  std::string NodeText(int node) const {
    return StrCat(graph_.nodes[node].op->name, " ",
                  RefText(graph_.value(graph_.nodes[node].results[0])));
  }

  std::string ObstacleAt(int norm, int reader) const {
    const Node& from = graph_.nodes[norm];
    const Node& to = graph_.nodes[reader];
    const OpDef* const form = NormedForm(*to.op);
    if (form == nullptr) {
      return StrCat("it is read by ", NodeText(reader), ", which cannot take it in; ", FormNames(),
                    " can");
    }
    const ValueId normed = from.results[0];
    const int x = OperandIndex(*to.op, "x");
    if (to.operands[x] != normed ||
        std::count(to.operands.begin(), to.operands.end(), normed) != 1) {
      return StrCat("it is read by ", NodeText(reader), " as another operand than x");
    }
    if (form == to.op && to.operands[OperandIndex(*form, "norm")] != kNoValue) {
      return StrCat("it is read by ", NodeText(reader), ", which has a norm already");
    }
    for (ValueId id : from.operands) {
      if (overwriter_[id] > norm && overwriter_[id] <= reader) {
        return StrCat(RefText(graph_.value(id)), " is overwritten by ", NodeText(overwriter_[id]),
                      " before ", NodeText(reader));
      }
    }
    Node node = Normed(from, to, /*first=*/true);
    const absl::StatusOr<std::vector<TensorType>> types =
        InferTypes(graph_, *node.op, node.operands, node.attrs);
    if (!types.ok()) return StrCat(NodeText(reader), ": ", ToStd(types.status().message()));
    return "";
  }

  // `to` with the norm `from` in it. Only the first reader is where the norm went.
  Node Normed(const Node& from, const Node& to, bool first) const {
    const OpDef& form = *NormedForm(*to.op);
    Node node;
    node.op = &form;
    node.results = to.results;
    node.attrs = to.attrs;
    node.attrs["eps"] = from.attrs.find("eps")->second;
    for (const OperandDef& operand : form.operands) {
      const int same = OperandIndex(*to.op, operand.name);
      ValueId id = same < 0 ? kNoValue : to.operands[same];
      if (operand.name == "x") id = from.operands[kX];
      if (operand.name == "norm") id = from.operands[kWeight];
      node.operands.push_back(id);
    }
    if (first) node.provenance = ProvenanceOf(graph_, from);
    for (std::string& source : ProvenanceOf(graph_, to)) {
      node.provenance.push_back(std::move(source));
    }
    return node;
  }

  Graph& graph_;
  std::vector<std::vector<int>> readers_;  // by value
  std::vector<int> overwriter_;            // by value: node that reuses its storage, or -1
};

}  // namespace

absl::Span<const NormForm> NormForms() { return kForms; }

absl::StatusOr<bool> FuseNorm(Graph& graph, Ledger& ledger) {
  const OpDef* const rms_norm = FindOp("rms_norm");
  NormFuser fuser(graph);
  std::vector<bool> gone(graph.nodes.size(), false);
  bool changed = false;
  for (int i = 0; i < static_cast<int>(graph.nodes.size()); ++i) {
    if (graph.nodes[i].op != rms_norm || fuser.ReadersOf(i).empty()) continue;
    const std::string name(NodeName(graph, graph.nodes[i]));
    if (std::string why = fuser.Obstacle(i); !why.empty()) {
      ledger.Rejected(name, std::move(why));
      continue;
    }
    if (!ledger.Allows(name)) continue;
    fuser.Fuse(i);
    std::vector<std::string> readers;
    for (int reader : fuser.ReadersOf(i)) {
      const Node& node = graph.nodes[reader];
      readers.push_back(StrCat(node.op->name, " ", RefText(graph.value(node.results[0]))));
    }
    ledger.Matched(name, StrCat("goes into ", StrJoin(readers, ", ")));
    gone[i] = changed = true;
  }
  if (!changed) return false;
  std::vector<Node> nodes;
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    if (!gone[i]) nodes.push_back(std::move(graph.nodes[i]));
  }
  graph.nodes = std::move(nodes);
  return true;
}

}  // namespace renga
