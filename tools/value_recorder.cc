#include "tools/value_recorder.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "ir/base/status.h"
#include "ir/trace/axis_names.h"
#include "ir/trace/positions.h"
#include "ir/trace/stats.h"

namespace renga {

ValueRecorder::ValueRecorder(const StepMemory& memory, const Graph& graph, int64_t cells,
                             std::function<bool(std::string_view name)> keep,
                             const std::atomic<bool>* cancel, Trace* trace)
    : memory_(memory),
      plan_(memory.plan()),
      cells_(cells),
      keep_(std::move(keep)),
      cancel_(cancel),
      trace_(trace) {
  for (const Node& node : graph.nodes) {
    std::vector<std::string>& results = results_[std::string(NodeName(graph, node))];
    for (const ValueId id : node.results) {
      values_[graph.value(id).name] = {&graph.value(id).type, node.op->name, values_.size()};
      results.push_back(graph.value(id).name);
    }
  }
  for (size_t i = 0; i < plan_.buffers.size(); ++i) {
    if (plan_.buffers[i].view_of >= 0) {
      views_[plan_.buffers[i].view_of].push_back(static_cast<int>(i));
    }
  }
}

absl::Status ValueRecorder::AfterStep(int step) {
  if (cancel_ != nullptr && *cancel_) return absl::CancelledError("interrupted");
  const std::vector<int32_t>& outputs = plan_.steps[step].outputs;
  for (size_t i = 0; i < outputs.size(); ++i) {
    const int32_t buffer = outputs[i];
    if (plan_.buffers[buffer].space == plan::Space::kCache) {
      // The buffer is the cache; the result names its new state.
      const auto node = results_.find(plan_.steps[step].name);
      if (node != results_.end() && i < node->second.size()) {
        RENGA_RETURN_IF_ERROR(Record(node->second[i], buffer));
      }
      continue;
    }
    RENGA_RETURN_IF_ERROR(Record(plan_.buffers[buffer].name, buffer));
    for (const int view : views_[buffer]) {
      RENGA_RETURN_IF_ERROR(Record(plan_.buffers[view].name, view));
    }
  }
  return absl::OkStatus();
}

void ValueRecorder::SortValues() {
  std::sort(trace_->values.begin(), trace_->values.end(),
            [this](const TracedValue& a, const TracedValue& b) {
              return values_.find(a.name)->second.order < values_.find(b.name)->second.order;
            });
}

absl::Status ValueRecorder::Record(const std::string& name, int buffer) {
  const auto found = values_.find(name);
  if (found == values_.end() || (keep_ && !keep_(name))) return absl::OkStatus();
  absl::StatusOr<StoredTensor> stored = ReadStored(memory_, buffer, cells_);
  if (!stored.ok()) return Annotate(stored.status(), StrCat("reading ", name));
  TracedValue value;
  value.name = name;
  value.op = std::string(found->second.op);
  value.dtype = stored->dtype;
  value.shape = std::move(stored->shape);
  value.axes = AxisNames(*found->second.type);
  value.data = stored->bytes;
  const bool whole = trace_->run.positions.empty() || value.axes.empty() || value.axes[0] == "cell";
  auto copy = std::make_shared<std::vector<uint8_t>>(whole ? std::move(stored->bytes)
                                                           : TakeKept(trace_->run, &value));
  value.data = *copy;
  value.stats = ComputeStats(value);
  trace_->storage.push_back(std::move(copy));
  trace_->values.push_back(std::move(value));
  return absl::OkStatus();
}

}  // namespace renga
