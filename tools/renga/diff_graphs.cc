// diff of graphs and plans: what changed in which layers.
#include <string>
#include <utility>

#include "ir/base/status.h"
#include "runtime/plan/serialize.h"
#include "tools/compare/plan_diff.h"
#include "tools/renga/diff.h"
#include "tools/renga/graph_diff_json.h"
#include "tools/renga/table.h"

namespace renga {
namespace {

Json NameJson(const std::string& name) { return name.empty() ? Json(nullptr) : Json(name); }

Json NamesJson(const Graph& graph, const std::vector<int>& nodes) {
  Json names = Json::array();
  for (const int node : nodes) names.push_back(NodeName(graph, graph.nodes[node]));
  return names;
}

// One entry a change; of several nodes a_nodes and b_nodes name all.
Json NodesJson(const Graph& a, const Graph& b, const GraphDiff& diff) {
  Json nodes = Json::array();
  for (const Change& change : diff.changes) {
    Json json = {{"a", NameJson(change.a_name)},
                 {"b", NameJson(change.b_name)},
                 {"kind", std::string(ToString(change.kind))},
                 {"subject", std::string(ToString(change.subject))},
                 {"layer", LayerJson(change.layer)},
                 {"what", change.what},
                 {"before", change.before},
                 {"after", change.after}};
    if (change.match >= 0) {
      const NodeMatch& match = diff.matches[change.match];
      json["matched_by"] = std::string(ToString(match.by));
      json["a_nodes"] = NamesJson(a, match.a);
      json["b_nodes"] = NamesJson(b, match.b);
    }
    nodes.push_back(std::move(json));
  }
  return nodes;
}

// What two plans differ in beyond their graphs.
absl::Status AddPlanFacts(const DiffFlags& flags, DiffAnswer* answer) {
  RENGA_ASSIGN_OR_RETURN(const plan::Plan a, plan::LoadPlan(flags.a));
  RENGA_ASSIGN_OR_RETURN(const plan::Plan b, plan::LoadPlan(flags.b));
  const std::vector<FactChange> facts = DiffPlanFacts(a, b);
  const std::vector<ChangeGroup> weights = DiffPlanWeights(a, b);
  TextTable table;
  Json json = Json::array();
  for (const FactChange& fact : facts) {
    table.Add({"plan", fact.name,
               StrCat(fact.before.empty() ? "none" : fact.before, " -> ",
                      fact.after.empty() ? "none" : fact.after)});
    json.push_back(
        {{"name", fact.name}, {"before", NameJson(fact.before)}, {"after", NameJson(fact.after)}});
  }
  TextTable weight_table;
  for (const ChangeGroup& group : weights) {
    weight_table.Add({LayersText(group.layers), std::string(ToString(group.kind)), group.role,
                      "other bytes of the same type"});
  }
  answer->json["facts"] = std::move(json);
  for (const ChangeGroup& group : weights) {
    answer->json["groups"].push_back({{"kind", std::string(ToString(group.kind))},
                                      {"subject", "weight"},
                                      {"layers", group.layers},
                                      {"role", group.role},
                                      {"what", ""},
                                      {"before", ""},
                                      {"after", ""},
                                      {"count", std::max<size_t>(group.layers.size(), 1)}});
  }
  if (facts.empty() && weights.empty()) return absl::OkStatus();
  const std::string text = StrCat(table.Text(), weight_table.Text());
  answer->text =
      answer->equal ? StrCat(text, "the graphs are ", answer->text) : StrCat(text, answer->text);
  answer->equal = false;
  return absl::OkStatus();
}

absl::StatusOr<Graph> GraphOfFile(const DiffFlags& flags, const std::string& path, FileKind kind) {
  DumpFlags dump;
  dump.model = flags.options;
  dump.model.model = path;
  if (kind == FileKind::kGguf) dump.after = flags.after;
  RENGA_ASSIGN_OR_RETURN(DumpedGraph dumped, GraphOf(dump, kind, /*all_passes=*/false));
  return std::move(dumped.graph);
}

}  // namespace

absl::StatusOr<std::shared_ptr<GraphComparison>> CompareGraphs(const DiffFlags& flags, FileKind a,
                                                               FileKind b) {
  auto graphs = std::make_shared<GraphComparison>();
  RENGA_ASSIGN_OR_RETURN(graphs->a, GraphOfFile(flags, flags.a, a));
  RENGA_ASSIGN_OR_RETURN(graphs->b, GraphOfFile(flags, flags.b, b));
  GraphDiffOptions options;
  options.ignore_names = flags.ignore_names;
  graphs->diff = DiffGraphs(graphs->a, graphs->b, options);
  return graphs;
}

absl::StatusOr<DiffAnswer> DiffGraphFiles(const DiffFlags& flags, FileKind a, FileKind b) {
  DiffAnswer answer;
  RENGA_ASSIGN_OR_RETURN(answer.graphs, CompareGraphs(flags, a, b));
  const auto& [graph_a, graph_b, diff, errors, times] = *answer.graphs;
  answer.equal = diff.equal();
  answer.text = GraphDiffText(graph_a, graph_b, diff);
  const bool plans = a == FileKind::kPlan && b == FileKind::kPlan;
  answer.json = {{"kind", plans ? "plan" : "graph"},
                 {"groups", GroupsJson(diff)},
                 {"nodes", NodesJson(graph_a, graph_b, diff)}};
  if (plans) RENGA_RETURN_IF_ERROR(AddPlanFacts(flags, &answer));
  return answer;
}

}  // namespace renga
