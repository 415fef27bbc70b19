#include "tools/renga/compare_json.h"

#include "tools/renga/trace_report.h"

namespace renga {
namespace {

Json LayerJson(int layer) { return layer < 0 ? Json(nullptr) : Json(layer); }

Json RunJson(const TraceRun& run) {
  return {{"model", run.model},   {"device", run.device}, {"target", run.target},
          {"k_type", run.k_type}, {"v_type", run.v_type}, {"ids", run.ids}};
}

Json ValueJson(const ComparedValue& value) {
  const ValueError& error = value.error;
  Json json = {{"a", value.a_name},
               {"b", value.b_name},
               {"kind", "value"},
               {"op", value.op},
               {"layer", LayerJson(value.layer)},
               {"within", value.within()},
               {"unexplained", value.unexplained},
               {"max_abs", error.max_abs},
               {"mean_abs", error.mean_abs},
               {"relative", error.relative},
               {"cosine", error.cosine},
               {"tolerance", value.tolerance},
               {"input_error", value.input_error},
               {"input", value.input},
               {"elements", error.elements},
               {"beyond", error.beyond},
               {"worst", error.worst_at},
               {"a_at_worst", error.a_at_worst},
               {"b_at_worst", error.b_at_worst},
               {"first_beyond", error.first_at},
               {"observation", error.observation},
               {"nans", {error.a_nans, error.b_nans}},
               {"infs", {error.a_infs, error.b_infs}}};
  if (value.replayed.has_value()) json["replayed"] = *value.replayed;
  return json;
}

}  // namespace

Json ComparisonJson(const TraceComparison& comparison) {
  Json nodes = Json::array(), skipped = Json::array();
  for (const ComparedValue& value : comparison.values) nodes.push_back(ValueJson(value));
  for (const SkippedPair& pair : comparison.skipped) {
    skipped.push_back({{"a", pair.a_name}, {"b", pair.b_name}, {"reason", pair.reason}});
  }
  Json first = nullptr;
  if (!comparison.unexplained.empty()) {
    first = comparison.values[comparison.unexplained[0]].b_name;
  }
  return {{"equal", comparison.equal()},
          {"verdict", VerdictText(comparison)},
          {"tolerance", comparison.tolerance.rtol},
          {"reason", comparison.tolerance.reason},
          {"first", std::move(first)},
          {"positions", PositionsJson(comparison.positions)},
          {"a_run", RunJson(comparison.a)},
          {"b_run", RunJson(comparison.b)},
          {"nodes", std::move(nodes)},
          {"skipped", std::move(skipped)},
          {"a_only", comparison.a_only},
          {"b_only", comparison.b_only}};
}

Json ValuesReportJson(const ValuesReport& report) {
  Json json = ComparisonJson(report.comparison);
  json["weights"] = report.weights;
  json["ids"] = report.ids;
  return json;
}

Json LogComparisonJson(const LogComparison& comparison) {
  Json nodes = Json::array(), unmatched = Json::array();
  for (const ComparedTensor& tensor : comparison.tensors) {
    nodes.push_back({{"a", tensor.value},
                     {"b", tensor.name},
                     {"kind", "value"},
                     {"op", tensor.op},
                     {"line", tensor.line},
                     {"layer", LayerJson(tensor.layer)},
                     {"how", tensor.how},
                     {"agrees", tensor.agrees()},
                     {"explained", tensor.explained},
                     {"numbers", tensor.numbers},
                     {"error", tensor.error},
                     {"of_tolerance", tensor.worst},
                     {"worst", tensor.at},
                     {"ours", tensor.ours},
                     {"log", tensor.logged},
                     {"our_sum", tensor.our_sum},
                     {"log_sum", tensor.logged_sum},
                     {"sum_of_tolerance", tensor.sum_worst},
                     {"observation", tensor.observation}});
  }
  for (const UnmatchedTensor& tensor : comparison.unmatched) {
    unmatched.push_back(
        {{"b", tensor.name}, {"op", tensor.op}, {"line", tensor.line}, {"reason", tensor.why}});
  }
  Json first = nullptr;
  if (!comparison.disagree.empty()) {
    first = comparison.tensors[comparison.disagree[0]].value;
  }
  const size_t matched = comparison.tensors.size();
  return {{"equal", comparison.equal()},
          {"verdict", VerdictText(comparison)},
          {"tensors", matched + comparison.unmatched.size()},
          {"matched", matched},
          {"disagree", comparison.disagree.size()},
          {"explained", comparison.explained},
          {"cut_short", comparison.cut_short},
          {"first", std::move(first)},
          {"a_run", RunJson(comparison.run)},
          {"nodes", std::move(nodes)},
          {"unmatched", std::move(unmatched)}};
}

}  // namespace renga
