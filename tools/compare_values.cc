#include "tools/compare_values.h"

#include <algorithm>
#include <limits>
#include <random>
#include <utility>

#include "ir/base/status.h"
#include "ir/base/windows.h"
#include "ir/diff/graph_diff.h"
#include "ir/trace/confirm.h"
#include "ir/trace/trace_graph.h"
#include "tools/random_weights.h"

namespace renga {
namespace {

// Rows of the table that token ids look up; 0 where the graph looks none up.
int64_t VocabularyOf(const Graph& graph) {
  const ValueId tokens = graph.FindValue("tokens", /*weight=*/false);
  int64_t smallest = 0;
  for (const Node& node : graph.nodes) {
    if (std::find(node.operands.begin(), node.operands.end(), tokens) == node.operands.end()) {
      continue;
    }
    for (const ValueId id : node.operands) {
      if (id == kNoValue || graph.value(id).kind != ValueKind::kWeight) continue;
      const TensorType& type = graph.value(id).type;
      if (type.rank() != 2 || type.shape[0].is_symbol()) continue;
      smallest = smallest == 0 ? type.shape[0].value : std::min(smallest, type.shape[0].value);
    }
  }
  return smallest;
}

// Tokens that one run of the graph can take.
int64_t MostTokens(const Graph& graph) {
  int64_t most = std::numeric_limits<int64_t>::max();
  for (const SymbolDef& symbol : graph.symbols) {
    const std::string_view name = SplitWindow(symbol.name).base;
    if (name == "T" || name == "L" || name == "C") most = std::min(most, symbol.max);
  }
  return most;
}

struct Ids {
  std::vector<int32_t> ids;
  std::string text;
};

absl::StatusOr<Ids> ChooseIds(const GraphSource& a, const GraphSource& b,
                              const ValuesOptions& options) {
  int64_t vocabulary = std::numeric_limits<int32_t>::max(), most = options.tokens;
  for (const GraphSource* source : {&a, &b}) {
    const int64_t rows = VocabularyOf(source->graph);
    if (rows == 0) {
      return absl::InvalidArgumentError(
          StrCat(source->label,
                 ": expected a model's graph that looks %tokens up in a weight, got "
                 "none; --values runs whole models"));
    }
    vocabulary = std::min(vocabulary, rows);
    most = std::min(most, MostTokens(source->graph));
  }
  Ids ids;
  if (options.ids.empty()) {
    std::mt19937_64 bits(options.seed);
    for (int64_t i = 0; i < most; ++i) {
      ids.ids.push_back(static_cast<int32_t>(bits() % static_cast<uint64_t>(vocabulary)));
    }
    ids.text =
        StrCat(ids.ids.size(), " random ids below ", vocabulary, " (seed ", options.seed, ")");
    return ids;
  }
  for (const int32_t id : options.ids) {
    if (id >= 0 && id < vocabulary) continue;
    return absl::InvalidArgumentError(
        StrCat("token id: expected 0..", vocabulary - 1, ", got ", id));
  }
  ids.ids = options.ids;
  ids.text = StrCat(ids.ids.size(), " given ids");
  return ids;
}

// One side, ready to run.
struct Side {
  Graph graph;
  WeightBytes weights;
};

absl::StatusOr<Side> Prepare(const GraphSource& source, bool random, uint64_t seed) {
  Side side{source.graph, source.weights};
  // The interpreter has no arena that the logits of all tokens would have to fit.
  for (SymbolDef& symbol : side.graph.symbols) {
    if (symbol.name == "R") symbol.max = std::max(symbol.max, MostTokens(side.graph));
  }
  if (!random) return side;
  side.graph = WithF32Weights(side.graph);
  absl::StatusOr<WeightBytes> weights = RandomWeights(side.graph, seed);
  if (!weights.ok()) return Annotate(weights.status(), source.label);
  side.weights = *std::move(weights);
  return side;
}

absl::StatusOr<Trace> RunSide(const GraphSource& source, const Side& side, const Ids& ids,
                              int threads) {
  TraceGraphOptions options;
  options.ids = ids.ids;
  options.model = source.label;
  options.threads = threads;
  absl::StatusOr<Trace> trace = TraceGraph(side.graph, side.weights, options);
  if (!trace.ok()) return Annotate(trace.status(), source.label);
  return trace;
}

}  // namespace

absl::StatusOr<ValuesReport> CompareValues(const GraphSource& a, const GraphSource& b,
                                           const ValuesOptions& options) {
  RENGA_ASSIGN_OR_RETURN(const Ids ids, ChooseIds(a, b, options));
  const bool random = a.weights == nullptr || b.weights == nullptr;
  RENGA_ASSIGN_OR_RETURN(const Side side_a, Prepare(a, random, options.seed));
  RENGA_ASSIGN_OR_RETURN(const Side side_b, Prepare(b, random, options.seed));
  RENGA_ASSIGN_OR_RETURN(const Trace trace_a, RunSide(a, side_a, ids, options.threads));
  RENGA_ASSIGN_OR_RETURN(const Trace trace_b, RunSide(b, side_b, ids, options.threads));

  const auto pairs =
      MatchedValues(side_a.graph, side_b.graph, DiffGraphs(side_a.graph, side_b.graph));
  ValuesReport report;
  CompareTracesOptions compare;
  compare.rtol = options.rtol;
  RENGA_ASSIGN_OR_RETURN(report.comparison, CompareMatched(trace_a, side_a.graph, trace_b,
                                                           side_b.graph, pairs, compare));
  const ConfirmInputs confirm{trace_a,      side_b.graph,   pairs,
                              side_a.graph, side_b.weights, options.threads};
  RENGA_RETURN_IF_ERROR(ConfirmByReplay(confirm, &report.comparison));
  report.ids = ids.ids;
  report.tokens = ids.text;
  if (random) {
    report.weights = StrCat("random, f32 (seed ", options.seed, ")");
  } else if (a.weights_label == b.weights_label) {
    report.weights = StrCat("of ", a.weights_label);
  } else {
    report.weights = StrCat("a: ", a.weights_label, ", b: ", b.weights_label);
  }
  return report;
}

std::string ValuesReportText(const ValuesReport& report) {
  return StrCat("weights ", report.weights, "; ", report.tokens, ": ", StrJoin(report.ids, ","),
                "\n", TraceComparisonText(report.comparison));
}

}  // namespace renga
