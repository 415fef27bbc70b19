// diff --values: do both sides compute the same?
#include <cmath>
#include <limits>
#include <map>
#include <utility>

#include "ir/base/status.h"
#include "runtime/plan/serialize.h"
#include "tools/compare_values.h"
#include "tools/renga/compare_json.h"
#include "tools/renga/diff.h"
#include "tools/renga/token_ids.h"

namespace renga {
namespace {

// Where the weights of one side come from; empty: from nowhere.
absl::StatusOr<std::string> WeightsFile(const DiffFlags& flags, const std::string& path,
                                        FileKind kind) {
  if (kind == FileKind::kGguf) return path;
  if (kind == FileKind::kIr) return flags.options.model;
  RENGA_ASSIGN_OR_RETURN(const plan::Plan plan, plan::LoadPlan(path));
  if (plan.files.empty()) return std::string();
  return plan.files[0].path;
}

absl::StatusOr<GraphSource> SourceOf(const std::string& path, const Graph& graph,
                                     const std::string& weights) {
  GraphSource source;
  source.label = path;
  source.graph = graph;
  if (!weights.empty()) {
    RENGA_RETURN_IF_ERROR(Annotate(TakeWeights(weights, &source), path));
  }
  return source;
}

void TakeErrors(const TraceComparison& comparison, GraphComparison* graphs) {
  std::map<std::string_view, int> node_of_b;
  for (size_t i = 0; i < graphs->b.nodes.size(); ++i) {
    for (const ValueId id : graphs->b.nodes[i].results) {
      node_of_b[graphs->b.value(id).name] = static_cast<int>(i);
    }
  }
  std::map<int, MatchError> by_match;
  const int first = comparison.unexplained.empty() ? -1 : comparison.unexplained[0];
  for (size_t i = 0; i < comparison.values.size(); ++i) {
    const ComparedValue& value = comparison.values[i];
    const auto node = node_of_b.find(value.b_name);
    if (node == node_of_b.end()) continue;
    MatchError error;
    error.match = graphs->diff.match_of_b[node->second];
    error.max_abs = value.error.max_abs;
    error.rel_rms = value.error.relative;
    error.cosine = value.error.cosine;
    error.worst = value.error.worst_at;
    error.first = static_cast<int>(i) == first;
    by_match.insert_or_assign(error.match, std::move(error));
  }
  for (auto& [match, error] : by_match) graphs->errors.push_back(std::move(error));
}

}  // namespace

absl::Status AddValues(const DiffFlags& flags, FileKind a, FileKind b, DiffAnswer* answer) {
  RENGA_ASSIGN_OR_RETURN(std::string weights_a, WeightsFile(flags, flags.a, a));
  RENGA_ASSIGN_OR_RETURN(std::string weights_b, WeightsFile(flags, flags.b, b));
  // A graph's text beside a model is most likely that model's graph.
  if (weights_a.empty()) weights_a = weights_b;
  if (weights_b.empty()) weights_b = weights_a;
  ValuesOptions options;
  options.rtol = flags.rtol;
  options.threads = flags.options.threads;
  if (weights_b.empty() && flags.prompt.text) {
    return absl::InvalidArgumentError(
        "-p: graphs' texts have no tokenizer: name the model with -m, or give --ids");
  }
  RENGA_ASSIGN_OR_RETURN(const TokenIds tokens, ReadTokenIds(weights_b, flags.prompt, flags.ids));
  options.ids = tokens.ids;
  RENGA_ASSIGN_OR_RETURN(const GraphSource source_a,
                         SourceOf(flags.a, answer->graphs->a, weights_a));
  RENGA_ASSIGN_OR_RETURN(const GraphSource source_b,
                         SourceOf(flags.b, answer->graphs->b, weights_b));
  RENGA_ASSIGN_OR_RETURN(const ValuesReport report, CompareValues(source_a, source_b, options));
  TakeErrors(report.comparison, answer->graphs.get());
  answer->text += ValuesReportText(report);
  answer->json["values"] = ValuesReportJson(report);
  answer->equal &= report.comparison.equal();
  return absl::OkStatus();
}

}  // namespace renga
