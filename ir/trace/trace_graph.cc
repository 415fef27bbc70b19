#include "ir/trace/trace_graph.h"

#include <algorithm>
#include <cstring>
#include <thread>
#include <utility>

#include "ir/base/status.h"
#include "ir/base/windows.h"
#include "ir/text/print.h"
#include "ir/trace/axis_names.h"
#include "ir/trace/cache_types_text.h"
#include "ir/trace/positions.h"
#include "ir/trace/run_params.h"
#include "ir/trace/stats.h"

namespace renga {
namespace {

std::vector<uint8_t> BytesOf(const HostTensor& tensor) {
  std::vector<uint8_t> bytes;
  const auto append = [&](auto raw) {
    const size_t at = bytes.size();
    bytes.resize(at + sizeof(raw));
    std::memcpy(bytes.data() + at, &raw, sizeof(raw));
  };
  for (const int32_t x : tensor.i) append(x);
  for (const float x : tensor.f) {
    if (tensor.dtype == DType::kF16) {
      append(FloatToHalf(x));
    } else if (tensor.dtype == DType::kBF16) {
      append(FloatToBFloat16(x));
    } else {
      append(x);
    }
  }
  return bytes;
}

std::string CacheTypes(const Graph& graph, std::string_view suffix) {
  std::vector<DType> types;
  for (const ValueId id : graph.caches) {
    const Value& cache = graph.value(id);
    if (cache.name.ends_with(suffix)) types.push_back(cache.type.dtype);
  }
  return CacheTypesText(types);
}

}  // namespace

absl::StatusOr<Trace> TraceGraph(const Graph& graph, const WeightBytes& weights,
                                 const TraceGraphOptions& options) {
  Trace trace;
  trace.run.model = options.model;
  trace.run.device = "reference";
  trace.run.ids = options.ids;
  trace.run.positions = options.positions;
  trace.run.k_type = CacheTypes(graph, "k_cache");
  trace.run.v_type = CacheTypes(graph, "v_cache");
  trace.run.ir = Print(graph);
  const int threads = options.threads > 0
                          ? options.threads
                          : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  SymbolValues symbols = RunSymbols(graph, options.ids, options.positions), fixed;
  for (const SymbolDef& cells : graph.symbols) {
    if (SplitWindow(cells.name).base != "C") continue;
    fixed[cells.name] = std::clamp(symbols["P"] * PageTokens(graph), cells.min, cells.max);
  }
  std::vector<HostTensor> params;
  for (const ValueId id : graph.params) {
    RENGA_ASSIGN_OR_RETURN(HostTensor param, RunParam(graph, id, options.ids, options.positions));
    params.push_back(std::move(param));
  }
  RENGA_ASSIGN_OR_RETURN(const auto interpreter,
                         Interpreter::Create(graph, weights, fixed, threads));
  const Observer record = [&](const Node& node,
                              absl::Span<HostTensor* const> results) -> absl::Status {
    if (options.cancel != nullptr && *options.cancel) return absl::CancelledError("interrupted");
    for (size_t r = 0; r < results.size(); ++r) {
      const Value& declared = graph.value(node.results[r]);
      if (options.keep && !options.keep(declared.name)) continue;
      const std::vector<uint8_t> all = BytesOf(*results[r]);
      TracedValue value;
      value.name = declared.name;
      value.op = std::string(node.op->name);
      // What a coarse cache holds is recorded as the numbers it stands for.
      value.dtype = IsCoarse(results[r]->dtype) ? DType::kF32 : results[r]->dtype;
      value.shape = results[r]->shape;
      value.axes = AxisNames(declared.type);
      value.data = all;
      auto bytes = std::make_shared<std::vector<uint8_t>>(TakeKept(trace.run, &value));
      value.data = *bytes;
      value.stats = ComputeStats(value);
      trace.storage.push_back(std::move(bytes));
      trace.values.push_back(std::move(value));
    }
    return absl::OkStatus();
  };
  RENGA_RETURN_IF_ERROR(interpreter->Run(symbols, params, record));
  return trace;
}

}  // namespace renga
