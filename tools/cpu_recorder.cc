#include "tools/cpu_recorder.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "ir/trace/axis_names.h"
#include "ir/trace/positions.h"
#include "ir/trace/stats.h"
#include "runtime/device/cpu/cache_ops.h"
#include "runtime/device/cpu/float_ops.h"

namespace renga {
namespace {

// What rows of a type of blocks stand for.
std::vector<float> Unpacked(DType type, const uint8_t* data, int64_t rows, int64_t width) {
  // The executor took the cache, so its type is one that they know.
  const cpu::CacheOps ops = *cpu::FindCacheOps(type);
  const int64_t row_bytes = RowBytes(type, width);
  std::vector<float> numbers(static_cast<size_t>(rows * width));
  std::vector<float> row(static_cast<size_t>(cpu::FloatStride(width)));
  for (int64_t r = 0; r < rows; ++r) {
    ops.unpack(data + r * row_bytes, width, row.data());
    std::copy_n(row.begin(), width, numbers.begin() + r * width);
  }
  return numbers;
}

}  // namespace

CpuRecorder::CpuRecorder(const Executor& executor, const Graph& graph, int64_t cells,
                         std::function<bool(std::string_view name)> keep,
                         const std::atomic<bool>* cancel, Trace* trace)
    : executor_(executor),
      plan_(executor.plan()),
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

absl::Status CpuRecorder::AfterStep(int step) {
  if (cancel_ != nullptr && *cancel_) return absl::CancelledError("interrupted");
  const std::vector<int32_t>& outputs = plan_.steps[step].outputs;
  for (size_t i = 0; i < outputs.size(); ++i) {
    const int32_t buffer = outputs[i];
    if (plan_.buffers[buffer].space == plan::Space::kCache) {
      // The buffer is the cache; the result names its new state.
      const auto node = results_.find(plan_.steps[step].name);
      if (node != results_.end() && i < node->second.size()) Record(node->second[i], buffer);
      continue;
    }
    Record(plan_.buffers[buffer].name, buffer);
    for (const int view : views_[buffer]) Record(plan_.buffers[view].name, view);
  }
  return absl::OkStatus();
}

void CpuRecorder::SortValues() {
  std::sort(trace_->values.begin(), trace_->values.end(),
            [this](const TracedValue& a, const TracedValue& b) {
              return values_.find(a.name)->second.order < values_.find(b.name)->second.order;
            });
}

void CpuRecorder::Record(const std::string& name, int buffer) {
  const auto found = values_.find(name);
  if (found == values_.end() || (keep_ && !keep_(name))) return;
  const cpu::TensorRef tensor = executor_.tensor(buffer);
  TracedValue value;
  value.name = name;
  value.op = std::string(found->second.op);
  value.dtype = tensor.dtype;
  value.shape.assign(tensor.dims, tensor.dims + tensor.rank);
  value.axes = AxisNames(*found->second.type);
  const bool cells = !value.axes.empty() && value.axes[0] == "cell";
  if (cells) value.shape[0] = std::min(value.shape[0], cells_);
  std::shared_ptr<std::vector<uint8_t>> copy;
  if (Info(value.dtype).block_elements > 1) {
    const std::vector<float> numbers = Unpacked(
        value.dtype, tensor.data, value.elements() / value.shape.back(), value.shape.back());
    value.dtype = DType::kF32;
    const auto* bytes = reinterpret_cast<const uint8_t*>(numbers.data());
    copy = std::make_shared<std::vector<uint8_t>>(bytes, bytes + numbers.size() * sizeof(float));
  } else {
    value.data = absl::MakeConstSpan(tensor.data, value.elements() * RowBytes(value.dtype, 1));
    copy = std::make_shared<std::vector<uint8_t>>(
        cells ? std::vector<uint8_t>(value.data.begin(), value.data.end())
              : TakeKept(trace_->run, &value));
  }
  value.data = *copy;
  value.stats = ComputeStats(value);
  trace_->storage.push_back(std::move(copy));
  trace_->values.push_back(std::move(value));
}

std::vector<float> CellsOf(const Executor& executor, int buffer, int64_t cells) {
  const cpu::TensorRef tensor = executor.tensor(buffer);
  const int64_t width = tensor.dims[2], rows = cells * tensor.dims[1];
  if (Info(tensor.dtype).block_elements > 1) {
    return Unpacked(tensor.dtype, tensor.data, rows, width);
  }
  TracedValue value;
  value.dtype = tensor.dtype;
  value.shape = {rows, width};
  value.data = absl::MakeConstSpan(tensor.data, rows * RowBytes(tensor.dtype, width));
  return AsFloats(value);
}

}  // namespace renga
