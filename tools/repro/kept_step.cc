#include "tools/repro/kept_step.h"

#include <cstring>
#include <iterator>
#include <memory>
#include <string_view>
#include <utility>

#include "ir/base/status.h"
#include "ir/text/print.h"
#include "ir/trace/axis_names.h"
#include "ir/trace/stats.h"
#include "ir/trace/trace.h"
#include "ir/trace/write_trace.h"

namespace renga {
namespace {

// What stands as the operator of values that the node does not give.
constexpr std::string_view kParam = "param", kRead = "read";

struct RunInput {
  std::string_view name;
  std::vector<int32_t> GivenRun::*values;
};
constexpr RunInput kRunInputs[] = {
    {"tokens", &GivenRun::tokens}, {"positions", &GivenRun::positions},
    {"cells", &GivenRun::cells},   {"sequences", &GivenRun::sequences},
    {"pages", &GivenRun::pages},   {"rows", &GivenRun::rows},
};

void Add(std::string name, std::string_view op, std::vector<std::string> axes, HostTensor tensor,
         Trace* trace) {
  TracedValue value;
  value.name = std::move(name);
  value.op = std::string(op);
  const bool ints = tensor.dtype == DType::kI32;
  value.dtype = ints ? DType::kI32 : DType::kF32;
  value.shape = tensor.shape;
  value.axes = std::move(axes);
  const size_t bytes = static_cast<size_t>(tensor.elements()) * sizeof(float);
  auto copy = std::make_shared<std::vector<uint8_t>>(bytes);
  if (bytes > 0) {
    std::memcpy(copy->data(), ints ? static_cast<const void*>(tensor.i.data()) : tensor.f.data(),
                bytes);
  }
  value.data = *copy;
  value.stats = ComputeStats(value);
  trace->storage.push_back(std::move(copy));
  trace->values.push_back(std::move(value));
}

HostTensor TensorOf(const TracedValue& value) {
  HostTensor tensor;
  tensor.dtype = value.dtype == DType::kI32 ? DType::kI32 : DType::kF32;
  tensor.shape = value.shape;
  if (tensor.dtype != DType::kI32) {
    tensor.f = AsFloats(value);
    return tensor;
  }
  tensor.i.resize(static_cast<size_t>(value.elements()));
  if (!tensor.i.empty()) std::memcpy(tensor.i.data(), value.data.data(), value.data.size());
  return tensor;
}

bool IsRunInput(std::string_view name) {
  for (const RunInput& input : kRunInputs) {
    if (input.name == name) return true;
  }
  return false;
}

}  // namespace

absl::Status WriteKeptStep(const std::string& folder, const Graph& graph, const GivenRun& run,
                           const CapturedNode& node) {
  Trace trace;
  trace.run.device = "reference";
  trace.run.target = node.device;
  trace.run.ids = run.tokens;
  trace.run.ir = Print(graph);
  for (const RunInput& input : kRunInputs) {
    const std::vector<int32_t>& values = run.*input.values;
    HostTensor tensor;
    tensor.dtype = DType::kI32;
    tensor.shape = {static_cast<int64_t>(values.size())};
    std::vector<std::string> axes = {input.name == "rows" ? "row" : "token"};
    if (input.name == "pages") {
      tensor.shape = {run.sequence_count, tensor.shape[0] / run.sequence_count};
      axes = {"sequence", "page"};
    }
    tensor.i = values;
    Add(std::string(input.name), kParam, std::move(axes), std::move(tensor), &trace);
  }
  const Graph& own = node.own.graph;
  const auto add_reads = [&](const std::vector<ValueId>& ids,
                             const std::vector<HostTensor>& tensors) {
    for (size_t i = 0; i < ids.size(); ++i) {
      const Value& value = own.value(ids[i]);
      if (IsRunInput(value.name)) continue;
      Add(value.name, kRead, AxisNames(value.type), tensors[i], &trace);
    }
  };
  add_reads(own.params, node.own.params);
  add_reads(own.caches, node.own.caches);
  for (size_t i = 0; i < node.expected.size(); ++i) {
    const Value& value = own.value(own.returns[i]);
    Add(value.name, node.op, AxisNames(value.type), node.expected[i], &trace);
  }
  return WriteTrace(trace, StrCat(folder, "/", kKeptStepFile));
}

absl::StatusOr<KeptStep> ReadKeptStep(const std::string& folder) {
  const std::string path = StrCat(folder, "/", kKeptStepFile);
  RENGA_ASSIGN_OR_RETURN(const Trace trace, ReadTrace(path));
  KeptStep step;
  size_t inputs = 0;
  for (const TracedValue& value : trace.values) {
    if (value.op == kRead) {
      step.reads.push_back({value.name, TensorOf(value)});
    } else if (value.op != kParam) {
      step.expected.push_back({value.name, TensorOf(value)});
    }
    for (const RunInput& input : kRunInputs) {
      if (value.op != kParam || value.name != input.name || value.dtype != DType::kI32) continue;
      step.run.*input.values = TensorOf(value).i;
      if (input.name == "pages") step.run.sequence_count = value.shape[0];
      ++inputs;
    }
  }
  if (inputs == std::size(kRunInputs) && !step.expected.empty()) return step;
  return absl::DataLossError(StrCat(
      path, ": expected a step with what it was given, as `renga run --check-steps --repro` ",
      "keeps it, got a trace of something else"));
}

}  // namespace renga
