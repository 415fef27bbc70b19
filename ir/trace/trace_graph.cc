#include "ir/trace/trace_graph.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <thread>
#include <utility>

#include "ir/base/status.h"
#include "ir/text/print.h"
#include "ir/trace/run_params.h"

namespace renga {
namespace {

std::string AxisName(const TensorType& type, size_t axis) {
  constexpr std::pair<std::string_view, std::string_view> kSymbols[] = {
      {"T", "token"}, {"R", "row"}, {"L", "key"}, {"C", "cell"}, {"S", "sequence"}, {"P", "page"}};
  for (const auto& [symbol, name] : kSymbols) {
    if (type.shape[axis].symbol == symbol) return std::string(name);
  }
  if (type.rank() == 3 && axis == 1) return "head";
  return axis + 1 == type.shape.size() ? "dim" : StrCat("axis ", axis);
}

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

ValueStats StatsOf(const TracedValue& value) {
  ValueStats stats;
  double sum = 0, squares = 0;
  int64_t count = 0;
  for (const float x : AsFloats(value)) {
    stats.nans += std::isnan(x) ? 1 : 0;
    stats.infs += std::isinf(x) ? 1 : 0;
    stats.zeros += x == 0 ? 1 : 0;
    if (!std::isfinite(x)) continue;
    stats.min = count == 0 ? x : std::min(stats.min, double{x});
    stats.max = count == 0 ? x : std::max(stats.max, double{x});
    sum += x;
    squares += double{x} * x;
    ++count;
  }
  if (count > 0) {
    stats.mean = sum / static_cast<double>(count);
    stats.rms = std::sqrt(squares / static_cast<double>(count));
  }
  return stats;
}

std::string CacheType(const Graph& graph, std::string_view suffix) {
  for (const ValueId id : graph.caches) {
    if (graph.value(id).name.ends_with(suffix))
      return std::string(Name(graph.value(id).type.dtype));
  }
  return {};
}

}  // namespace

absl::StatusOr<Trace> TraceGraph(const Graph& graph, const WeightBytes& weights,
                                 const TraceGraphOptions& options) {
  Trace trace;
  trace.run.model = options.model;
  trace.run.device = "reference";
  trace.run.ids = options.ids;
  trace.run.k_type = CacheType(graph, "k_cache");
  trace.run.v_type = CacheType(graph, "v_cache");
  trace.run.ir = Print(graph);
  const int threads = options.threads > 0
                          ? options.threads
                          : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  SymbolValues symbols = RunSymbols(graph, options.ids), fixed;
  if (const SymbolDef* cells = graph.FindSymbol("C"); cells != nullptr) {
    fixed["C"] = std::clamp(symbols["P"] * PageTokens(graph), cells->min, cells->max);
  }
  std::vector<HostTensor> params;
  for (const ValueId id : graph.params) {
    RENGA_ASSIGN_OR_RETURN(HostTensor param, RunParam(graph, id, options.ids));
    params.push_back(std::move(param));
  }
  RENGA_ASSIGN_OR_RETURN(const auto interpreter,
                         Interpreter::Create(graph, weights, fixed, threads));
  const Observer record = [&](const Node& node, absl::Span<HostTensor* const> results) {
    for (size_t r = 0; r < results.size(); ++r) {
      const Value& declared = graph.value(node.results[r]);
      auto bytes = std::make_shared<std::vector<uint8_t>>(BytesOf(*results[r]));
      TracedValue value;
      value.name = declared.name;
      value.op = std::string(node.op->name);
      value.dtype = results[r]->dtype;
      value.shape = results[r]->shape;
      for (size_t axis = 0; axis < value.shape.size(); ++axis) {
        value.axes.push_back(AxisName(declared.type, axis));
      }
      value.data = *bytes;
      value.stats = StatsOf(value);
      trace.storage.push_back(std::move(bytes));
      trace.values.push_back(std::move(value));
    }
    return absl::OkStatus();
  };
  RENGA_RETURN_IF_ERROR(interpreter->Run(symbols, params, record));
  return trace;
}

}  // namespace renga
