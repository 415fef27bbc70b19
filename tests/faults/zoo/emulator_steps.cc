#include "tests/faults/zoo/emulator_steps.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "ir/base/status.h"
#include "ir/text/parse.h"
#include "ir/trace/axis_names.h"
#include "ir/trace/stats.h"
#include "runtime/plan/layout.h"

namespace renga::faults {
namespace {

class EmulatorSteps final : public StepRecorder {
 public:
  EmulatorSteps(std::unique_ptr<emulator::EmulatorDevice> device, Graph graph)
      : device_(std::move(device)), graph_(std::move(graph)) {
    for (const Node& node : graph_.nodes) {
      for (const ValueId id : node.results) {
        results_[std::string(NodeName(graph_, node))].push_back(id);
        by_name_[graph_.value(id).name] = {id, &node};
      }
    }
  }

  const plan::Plan& plan() const override { return device_->plan(); }
  const Graph& graph() const override { return graph_; }
  std::string_view device() const override { return "emulator"; }

  absl::Status Run(const StepInputs& inputs, int64_t cells, RecordedStep* record) override {
    if (record == nullptr) return device_->Run(inputs);
    record->state = StateOf(plan(), graph_, inputs, cells);
    record->trace.run = RunOfStep(plan(), inputs, device());
    for (size_t i = 0; i < plan().buffers.size(); ++i) {
      const plan::Buffer& buffer = plan().buffers[i];
      if (buffer.space != plan::Space::kCache || buffer.view_of >= 0) continue;
      const plan::Cache& cache = plan().caches[buffer.index];
      TracedValue value = CellsOf(static_cast<int32_t>(i), cells, &record->trace);
      HostTensor& before = record->state.caches[cache.name];
      before.dtype = cache.dtype;
      before.shape = {cells, cache.heads, cache.head_dim};
      before.f = AsFloats(value);
    }
    RENGA_RETURN_IF_ERROR(
        device_->Run(inputs, [&](int step) { return AfterStep(step, cells, record); }));
    std::sort(record->trace.values.begin(), record->trace.values.end(),
              [this](const TracedValue& a, const TracedValue& b) {
                return by_name_[a.name].id < by_name_[b.name].id;
              });
    return absl::OkStatus();
  }

  absl::Status Forget() override {
    std::vector<int32_t> cells(static_cast<size_t>(plan::CacheCells(plan())));
    std::iota(cells.begin(), cells.end(), 0);
    return device_->ForgetCells(cells);
  }

 private:
  struct Source {
    ValueId id;
    const Node* node;
  };

  // Copies them: the trace owns what it has.
  static TracedValue Keep(TracedValue value, std::vector<uint8_t> bytes, Trace* trace) {
    auto copy = std::make_shared<std::vector<uint8_t>>(std::move(bytes));
    value.data = *copy;
    value.stats = ComputeStats(value);
    trace->storage.push_back(std::move(copy));
    return value;
  }

  TracedValue CellsOf(int32_t buffer, int64_t cells, Trace* trace) const {
    const plan::Cache& cache = plan().caches[plan().buffers[buffer].index];
    const size_t bytes = static_cast<size_t>(cache.heads * RowBytes(cache.dtype, cache.head_dim));
    std::vector<uint8_t> all;
    for (int32_t cell = 0; cell < cells; ++cell) {
      std::vector<uint8_t> one;
      if (!device_->ReadCell(buffer, cell, &one).ok()) one.clear();
      one.resize(bytes, 0);
      all.insert(all.end(), one.begin(), one.end());
    }
    TracedValue value;
    value.dtype = cache.dtype;
    value.shape = {cells, cache.heads, cache.head_dim};
    return Keep(std::move(value), std::move(all), trace);
  }

  absl::Status AfterStep(int index, int64_t cells, RecordedStep* record) {
    const plan::Step& step = plan().steps[index];
    for (size_t i = 0; i < step.outputs.size(); ++i) {
      const int32_t output = step.outputs[i];
      const plan::Buffer& buffer = plan().buffers[output];
      if (buffer.space == plan::Space::kCache) {
        const auto node = results_.find(step.name);
        if (node == results_.end() || i >= node->second.size()) continue;
        TracedValue value = CellsOf(output, cells, &record->trace);
        Add(graph_.value(node->second[i]).name, std::move(value), record);
        continue;
      }
      for (size_t view = 0; view < plan().buffers.size(); ++view) {
        const plan::Buffer& shown = plan().buffers[view];
        if (static_cast<int32_t>(view) != output && shown.view_of != output) continue;
        TracedValue value;
        value.dtype = shown.type.dtype;
        for (const plan::Dim& dim : shown.type.shape) {
          value.shape.push_back(dim.symbol < 0
                                    ? dim.value
                                    : record->state.symbols.at(plan().symbols[dim.symbol].name));
        }
        std::vector<uint8_t> bytes;
        RENGA_RETURN_IF_ERROR(device_->Read(output, &bytes));
        Add(shown.name, Keep(std::move(value), std::move(bytes), &record->trace), record);
      }
    }
    return absl::OkStatus();
  }

  void Add(const std::string& name, TracedValue value, RecordedStep* record) {
    const auto found = by_name_.find(name);
    if (found == by_name_.end()) return;
    value.name = name;
    value.op = std::string(found->second.node->op->name);
    value.axes = AxisNames(graph_.value(found->second.id).type);
    record->trace.values.push_back(std::move(value));
  }

  std::unique_ptr<emulator::EmulatorDevice> device_;
  const Graph graph_;
  std::map<std::string, std::vector<ValueId>, std::less<>> results_;  // of a node, by its name
  std::map<std::string, Source, std::less<>> by_name_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<StepRecorder>> OpenEmulatorSteps(
    std::shared_ptr<const plan::Plan> plan, emulator::DeviceOptions options) {
  RENGA_ASSIGN_OR_RETURN(Graph graph, Parse(plan->ir, "the plan's graph"));
  RENGA_ASSIGN_OR_RETURN(auto device,
                         emulator::EmulatorDevice::Create(std::move(plan), std::move(options)));
  return std::make_unique<EmulatorSteps>(std::move(device), std::move(graph));
}

}  // namespace renga::faults
