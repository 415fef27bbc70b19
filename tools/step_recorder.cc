#include "tools/step_recorder.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "ir/base/status.h"
#include "ir/base/windows.h"
#include "ir/text/parse.h"
#include "runtime/plan/layout.h"
#include "tools/value_recorder.h"

namespace renga {
namespace {

TraceRun RunOfStep(const plan::Plan& plan, const StepInputs& inputs, std::string_view device) {
  TraceRun run;
  run.device = std::string(device);
  run.target = plan.target;
  run.producer = plan.producer;
  run.ids.assign(inputs.tokens.begin(), inputs.tokens.end());
  run.ir = plan.ir;
  return run;
}

}  // namespace

StepState StateOf(const plan::Plan& plan, const Graph& graph, const StepInputs& inputs,
                  int64_t cells) {
  StepState state;
  std::vector<int64_t> sizes(plan.symbols.size());
  BindSymbols(plan, inputs, &sizes);
  for (size_t i = 0; i < sizes.size(); ++i) state.symbols[plan.symbols[i].name] = sizes[i];
  for (const plan::Symbol& symbol : plan.symbols) {
    if (SplitWindow(symbol.name).base != "C") continue;
    state.symbols[symbol.name] = std::min(cells, symbol.max);
  }
  for (const ValueId id : graph.params) {
    const Value& value = graph.value(id);
    HostTensor& tensor = state.params[value.name];
    tensor.dtype = DType::kI32;
    for (const Dim& dim : value.type.shape) {
      tensor.shape.push_back(dim.is_symbol() ? state.symbols[dim.symbol] : dim.value);
    }
    const auto values = ValuesOf(inputs, value.name);
    tensor.i.assign(values.begin(), values.end());
  }
  return state;
}

StepRecorder::StepRecorder(std::unique_ptr<StepDevice> device, Graph graph, RecordOptions options)
    : device_(std::move(device)), graph_(std::move(graph)), options_(std::move(options)) {}

absl::StatusOr<std::unique_ptr<StepRecorder>> StepRecorder::Create(
    std::unique_ptr<StepDevice> device, RecordOptions options) {
  RENGA_ASSIGN_OR_RETURN(Graph graph, Parse(device->memory().plan().ir, "the plan's graph"));
  return std::unique_ptr<StepRecorder>(
      new StepRecorder(std::move(device), std::move(graph), std::move(options)));
}

absl::Status StepRecorder::Run(const StepInputs& inputs, int64_t cells, RecordedStep* record) {
  if (record == nullptr) return device_->Run(inputs, {});
  const StepMemory& memory = device_->memory();
  record->state = StateOf(plan(), graph_, inputs, cells);
  const std::vector<plan::Buffer>& buffers = plan().buffers;
  for (size_t i = 0; i < buffers.size(); ++i) {
    if (buffers[i].space != plan::Space::kCache || buffers[i].view_of >= 0) continue;
    absl::StatusOr<HostTensor> before = ReadTensor(memory, static_cast<int32_t>(i), cells);
    if (!before.ok()) return Annotate(before.status(), StrCat("reading ", buffers[i].name));
    record->state.caches[plan().caches[buffers[i].index].name] = *std::move(before);
  }
  record->trace.run = RunOfStep(plan(), inputs, device());
  ValueRecorder recorder(memory, graph_, cells, options_.keep, options_.cancel, &record->trace);
  RENGA_RETURN_IF_ERROR(device_->Run(inputs, {.before = nullptr, .after = [&recorder](int step) {
                                                return recorder.AfterStep(step);
                                              }}));
  recorder.SortValues();
  return absl::OkStatus();
}

}  // namespace renga
