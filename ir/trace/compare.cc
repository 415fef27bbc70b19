#include "ir/trace/compare.h"

#include <algorithm>
#include <limits>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "ir/base/status.h"
#include "ir/diff/graph_diff.h"
#include "ir/text/parse.h"
#include "ir/trace/error_sources.h"
#include "ir/trace/positions.h"

namespace renga {
namespace {

using ValueMap = absl::flat_hash_map<std::string_view, int>;  // name -> index into Trace::values

ValueMap ByName(const Trace& trace) {
  ValueMap map;
  for (size_t i = 0; i < trace.values.size(); ++i) {
    map.emplace(trace.values[i].name, static_cast<int>(i));
  }
  return map;
}

int IndexOf(const ValueMap& map, const Graph& graph, ValueId id) {
  if (graph.value(id).kind == ValueKind::kWeight) return -1;
  const auto found = map.find(graph.value(id).name);
  return found == map.end() ? -1 : found->second;
}

std::string TypesText(const TraceRun& run) {
  return run.k_type.empty() ? "none" : StrCat("k=", run.k_type, ",v=", run.v_type);
}

absl::StatusOr<Graph> GraphOfRun(const TraceRun& run, std::string_view which) {
  if (run.ir.empty()) {
    return absl::InvalidArgumentError(
        StrCat("trace ", which, ": expected the graph that was run in its metadata, got none; ",
               "write it again with `renga trace`"));
  }
  return Parse(run.ir, StrCat("graph of trace ", which));
}

}  // namespace

double DeviceTolerance(std::string_view device) {
  if (device == "reference") return 0;
  return device.starts_with("cuda") ? kHalfDeviceTolerance : kDeviceTolerance;
}

Tolerance DefaultTolerance(const TraceRun& a, const TraceRun& b) {
  double roundoff = 0;
  for (const TraceRun* run : {&a, &b}) {
    roundoff = std::max({roundoff, RoundoffOf(run->k_type), RoundoffOf(run->v_type)});
  }
  // Every node of the interpreter sums in double and rounds its result to f32 (2^-24, relative),
  // and two graphs that mean the same round at different places: 1e-7 a node, some tens of them
  // below each other.
  Tolerance tolerance = {1e-5,
                         "both on the reference interpreter, which rounds each result to f32 once"};
  if (const double device = std::max(DeviceTolerance(a.device), DeviceTolerance(b.device));
      device > 0) {
    tolerance = {device,
                 device > kDeviceTolerance ? "products of f16, sums in f32" : "sums in f32"};
    // A number close to the middle between two of the type rounds the other way: all of u.
    if (2 * roundoff > tolerance.rtol) tolerance = {2 * roundoff, "sums in f32, caches below it"};
  }
  if (a.k_type != b.k_type || a.v_type != b.v_type) {
    // Keys of another rounding u move each score by u * |q| |k|, which softmax carries on: four
    // times u leaves room for scores of that size.
    if (4 * roundoff > tolerance.rtol) {
      tolerance = {4 * roundoff,
                   StrCat("caches of different types: ", TypesText(a), " and ", TypesText(b))};
    }
  }
  return tolerance;
}

absl::Status CheckSameTokens(const TraceRun& a, const TraceRun& b) {
  const size_t common = std::min(a.ids.size(), b.ids.size());
  for (size_t i = 0; i < common; ++i) {
    if (a.ids[i] == b.ids[i]) continue;
    return absl::InvalidArgumentError(StrCat("runs of different prompts cannot be compared: token ",
                                             i, " is ", a.ids[i], " in a and ", b.ids[i],
                                             " in b; trace both with the same --ids"));
  }
  if (a.ids.size() != b.ids.size()) {
    return absl::InvalidArgumentError(StrCat("runs of different prompts cannot be compared: a has ",
                                             a.ids.size(), " tokens, b has ", b.ids.size(),
                                             "; trace both with the same --ids"));
  }
  return absl::OkStatus();
}

bool TraceComparison::equal() const {
  return unexplained.empty() && skipped.empty() &&
         std::all_of(values.begin(), values.end(),
                     [](const ComparedValue& value) { return value.within(); });
}

absl::StatusOr<TraceComparison> CompareTraces(const Trace& a, const Trace& b,
                                              const CompareTracesOptions& options) {
  RENGA_RETURN_IF_ERROR(CheckSameTokens(a.run, b.run));
  RENGA_ASSIGN_OR_RETURN(const Graph a_graph, GraphOfRun(a.run, "a"));
  RENGA_ASSIGN_OR_RETURN(const Graph b_graph, GraphOfRun(b.run, "b"));
  const GraphDiff diff = DiffGraphs(a_graph, b_graph);
  return CompareMatched(a, a_graph, b, b_graph, MatchedValues(a_graph, b_graph, diff), options);
}

absl::StatusOr<TraceComparison> CompareMatched(
    const Trace& a, const Graph& a_graph, const Trace& b, const Graph& b_graph,
    const std::vector<std::pair<ValueId, ValueId>>& pairs, const CompareTracesOptions& options) {
  RENGA_RETURN_IF_ERROR(CheckSameTokens(a.run, b.run));
  TraceComparison result;
  RENGA_ASSIGN_OR_RETURN(result.positions, CommonPositions(a.run, b.run));
  result.a = a.run;
  result.b = b.run;
  result.tolerance = DefaultTolerance(a.run, b.run);
  if (options.rtol.has_value()) result.tolerance = {*options.rtol, "as asked for"};
  const double rtol = result.tolerance.rtol;

  const ValueMap a_values = ByName(a), b_values = ByName(b);
  std::vector<bool> a_used(a.values.size()), b_used(b.values.size());
  std::vector<KnownError> errors(b_graph.values.size());
  std::vector<ValueId> ids;  // in b's graph, one per compared value
  for (const auto& [a_id, b_id] : pairs) {
    const int a_index = IndexOf(a_values, a_graph, a_id);
    const int b_index = IndexOf(b_values, b_graph, b_id);
    if (a_index < 0 || b_index < 0 || errors[b_id].known) continue;
    const TracedValue& x = a.values[a_index];
    const TracedValue& y = b.values[b_index];
    a_used[a_index] = b_used[b_index] = true;
    const double tolerance = std::max({rtol, Roundoff(x.dtype), Roundoff(y.dtype)});
    absl::StatusOr<ValueError> error =
        result.positions.empty()
            ? CompareValues(x, y, tolerance)
            : CompareAtPositions(a.run, x, b.run, y, result.positions, tolerance);
    if (!error.ok()) {
      result.skipped.push_back({x.name, y.name, std::string(error.status().message())});
      continue;
    }
    constexpr double kInfinite = std::numeric_limits<double>::infinity();
    errors[b_id] = {true, error->lone_nonfinite > 0 ? kInfinite : error->relative, error->rms_a,
                    tolerance};
    ComparedValue compared;
    compared.a_name = x.name;
    compared.b_name = y.name;
    compared.op = y.op;
    compared.layer = LayerOf(y.name);
    compared.error = *std::move(error);
    compared.tolerance = tolerance;
    result.values.push_back(std::move(compared));
    ids.push_back(b_id);
  }
  const std::vector<ErrorSource> sources = FindErrorSources(b_graph, errors);
  for (size_t i = 0; i < result.values.size(); ++i) {
    ComparedValue& value = result.values[i];
    const ErrorSource& source = sources[ids[i]];
    value.input_error = source.inputs;
    if (source.input != kNoValue) value.input = b_graph.value(source.input).name;
    value.unexplained = source.unexplained;
    if (value.unexplained) result.unexplained.push_back(static_cast<int>(i));
    if (result.worst < 0 || errors[ids[i]].relative > errors[ids[result.worst]].relative) {
      result.worst = static_cast<int>(i);
    }
  }
  for (size_t i = 0; i < a.values.size(); ++i) {
    if (!a_used[i]) result.a_only.push_back(a.values[i].name);
  }
  for (size_t i = 0; i < b.values.size(); ++i) {
    if (!b_used[i]) result.b_only.push_back(b.values[i].name);
  }
  return result;
}

}  // namespace renga
