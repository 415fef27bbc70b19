#include "tools/renga/trace_report.h"

#include <utility>

#include "absl/strings/str_format.h"
#include "ir/base/strings.h"
#include "ir/core/graph.h"
#include "tools/renga/table.h"
#include "tools/renga/text.h"

namespace renga {
namespace {

// "f32[token 5, dim 64]"
std::string TypeText(const TracedValue& value) {
  std::string text = StrCat(Name(value.dtype), "[");
  for (size_t i = 0; i < value.shape.size(); ++i) {
    StrAppend(&text, i > 0 ? ", " : "", value.axes[i], " ", value.shape[i]);
  }
  return text + "]";
}

std::string Number(double number) { return absl::StrFormat("%.4g", number); }

std::string CountText(int64_t count, std::string_view what) {
  return count == 0 ? "" : StrCat(count, " ", what);
}

}  // namespace

std::string TraceSummary(const Trace& trace) {
  uint64_t bytes = 0;
  for (const TracedValue& value : trace.values) bytes += value.data.size();
  return StrCat(trace.values.size(), " values  ", trace.run.ids.size(), " tokens  ",
                BytesText(bytes), "  ", EscapeOnOneLine(trace.run.device));
}

std::string TraceText(const Trace& trace, const KeepValue& keep) {
  const TraceRun& run = trace.run;
  std::string text = StrCat("trace of ", EscapeOnOneLine(run.model), "  ", TraceSummary(trace));
  if (!run.k_type.empty()) {
    StrAppend(&text, "  k ", EscapeOnOneLine(run.k_type), "  v ", EscapeOnOneLine(run.v_type));
  }
  StrAppend(&text, "\n");
  if (!run.prompt.empty()) StrAppend(&text, "prompt ", Quoted(run.prompt), "\n");
  StrAppend(&text, "ids ", StrJoin(run.ids, ","), "\n");
  if (!run.positions.empty()) {
    StrAppend(&text, "positions ", StrJoin(run.positions, ","), "\n");
  }
  TextTable table;
  table.Add({"value", "operator", "type", "min", "max", "mean", "rms", "zeros"});
  for (const TracedValue& value : trace.values) {
    if (!keep(value)) continue;
    const ValueStats& stats = value.stats;
    table.Add({StrCat("%", value.name), value.op, TypeText(value), Number(stats.min),
               Number(stats.max), Number(stats.mean), Number(stats.rms), StrCat(stats.zeros),
               CountText(stats.nans, "NaN"), CountText(stats.infs, "infinite")});
  }
  return text + table.Text();
}

Json PositionsJson(const std::vector<int32_t>& positions) {
  return positions.empty() ? Json(nullptr) : Json(positions);
}

Json TraceJson(const Trace& trace, const KeepValue& keep) {
  Json nodes = Json::array();
  for (const TracedValue& value : trace.values) {
    if (!keep(value)) continue;
    const int layer = LayerOf(value.name);
    const ValueStats& stats = value.stats;
    nodes.push_back({{"name", value.name},
                     {"op", value.op},
                     {"layer", layer < 0 ? Json(nullptr) : Json(layer)},
                     {"type", std::string(Name(value.dtype))},
                     {"shape", value.shape},
                     {"axes", value.axes},
                     {"min", stats.min},
                     {"max", stats.max},
                     {"mean", stats.mean},
                     {"rms", stats.rms},
                     {"zeros", stats.zeros},
                     {"nans", stats.nans},
                     {"infs", stats.infs}});
  }
  const TraceRun& run = trace.run;
  return {{"model", run.model},
          {"model_digest", run.model_digest},
          {"device", run.device},
          {"target", run.target},
          {"prompt", run.prompt},
          {"ids", run.ids},
          {"positions", PositionsJson(run.positions)},
          {"k_type", run.k_type},
          {"v_type", run.v_type},
          {"nodes", std::move(nodes)}};
}

}  // namespace renga
