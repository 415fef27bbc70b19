#include "tools/step_values.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "ir/base/status.h"
#include "ir/core/cache_rounding.h"
#include "ir/text/parse.h"
#include "runtime/device/cpu/cache_ops.h"
#include "runtime/device/cpu/float_ops.h"

namespace renga {

absl::StatusOr<StepValues> StepValues::Create(const Executor& executor) {
  StepValues self(executor);
  const plan::Plan& plan = executor.plan();
  RENGA_ASSIGN_OR_RETURN(self.graph_, Parse(plan.ir, "the plan's graph"));
  RemovePacking(self.graph_);
  std::map<std::string_view, const Node*> by_name;
  for (const Node& node : self.graph_.nodes) by_name[NodeName(self.graph_, node)] = &node;
  for (const plan::Step& step : plan.steps) {
    const auto found = by_name.find(step.name);
    self.nodes_.push_back(found == by_name.end() ? nullptr : found->second);
  }
  for (size_t i = 0; i < plan.buffers.size(); ++i) {
    if (plan.buffers[i].space == plan::Space::kWeight) continue;
    self.buffers_[plan.buffers[i].name] = static_cast<int32_t>(i);
  }
  return self;
}

absl::Span<const int32_t> StepValues::Input(const std::string& name) const {
  const auto found = buffers_.find(name);
  if (found == buffers_.end()) return {};
  const cpu::TensorRef tensor = executor_->tensor(found->second);
  int64_t count = 1;
  for (int axis = 0; axis < tensor.rank; ++axis) count *= tensor.dims[axis];
  return absl::MakeConstSpan(tensor.as<int32_t>(), static_cast<size_t>(count));
}

int64_t StepValues::Cells() const {
  const int64_t page = executor_->plan().geometry.page_tokens;
  int64_t pages = 1;
  for (const int32_t number : Input("pages")) pages = std::max<int64_t>(pages, number + 1);
  for (const int32_t cell : Input("cells")) pages = std::max<int64_t>(pages, cell / page + 1);
  return pages * page;
}

HostTensor StepValues::Read(int32_t buffer) const {
  const cpu::TensorRef ref = executor_->tensor(buffer);
  HostTensor tensor;
  tensor.dtype = ref.dtype;
  tensor.shape.assign(ref.dims, ref.dims + ref.rank);
  if (executor_->plan().buffers[static_cast<size_t>(buffer)].space == plan::Space::kCache) {
    tensor.shape[0] = std::min(tensor.shape[0], Cells());
  }
  tensor.Allocate();
  if (ref.dtype == DType::kI32) {
    if (!tensor.i.empty()) {
      std::memcpy(tensor.i.data(), ref.data, tensor.i.size() * sizeof(int32_t));
    }
    return tensor;
  }
  // Every type that an activation has is one that a cache can have.
  const cpu::CacheOps ops = *cpu::FindCacheOps(ref.dtype);
  const int64_t width = tensor.shape.empty() ? 1 : tensor.shape.back();
  const int64_t row_bytes = RowBytes(ref.dtype, width);
  std::vector<float> row(static_cast<size_t>(cpu::FloatStride(width)));
  for (int64_t r = 0; r < tensor.elements() / width; ++r) {
    ops.unpack(ref.data + r * row_bytes, width, row.data());
    std::copy_n(row.begin(), width, tensor.f.begin() + r * width);
  }
  return tensor;
}

absl::Status StepValues::Write(int32_t buffer, const HostTensor& tensor) const {
  const cpu::TensorRef ref = executor_->tensor(buffer);
  const bool cache =
      executor_->plan().buffers[static_cast<size_t>(buffer)].space == plan::Space::kCache;
  std::vector<int64_t> shape(ref.dims, ref.dims + ref.rank);
  if (cache) shape[0] = tensor.shape.empty() ? 0 : tensor.shape[0];
  if (shape != tensor.shape || (ref.dtype == DType::kI32) != (tensor.dtype == DType::kI32)) {
    return absl::InvalidArgumentError(StrCat("expected ", Name(ref.dtype), " of sizes [",
                                             StrJoin(shape, ","), "], got ", Name(tensor.dtype),
                                             " of [", StrJoin(tensor.shape, ","), "]"));
  }
  if (ref.dtype == DType::kI32) {
    std::memcpy(ref.data, tensor.i.data(), tensor.i.size() * sizeof(int32_t));
    return absl::OkStatus();
  }
  const cpu::CacheOps ops = *cpu::FindCacheOps(ref.dtype);
  const int64_t width = shape.empty() ? 1 : shape.back();
  const int64_t row_bytes = RowBytes(ref.dtype, width);
  const auto store = [&](int64_t row) {
    ops.store(tensor.f.data() + row * width, width, ref.data + row * row_bytes);
  };
  if (!cache) {
    for (int64_t row = 0; row < tensor.elements() / std::max<int64_t>(width, 1); ++row) store(row);
    return absl::OkStatus();
  }
  const int64_t rows = shape[1];  // of a cell: its heads
  for (const int32_t cell : Input("cells")) {
    if (cell < 0 || cell >= shape[0]) {
      return absl::InvalidArgumentError(
          StrCat("cells: expected 0..", shape[0] - 1, ", got ", cell));
    }
    for (int64_t head = 0; head < rows; ++head) store(cell * rows + head);
  }
  return absl::OkStatus();
}

SymbolValues StepValues::Sizes() const {
  SymbolValues sizes;
  const plan::Plan& plan = executor_->plan();
  for (size_t i = 0; i < plan.symbols.size(); ++i) {
    sizes[plan.symbols[i].name] = executor_->sizes()[i];
  }
  sizes["C"] = Cells();
  return sizes;
}

absl::StatusOr<NodeCase> StepValues::CutOutStep(const Graph& graph, int step) const {
  const plan::Plan& plan = executor_->plan();
  const plan::Step& of = plan.steps[static_cast<size_t>(step)];
  const Node* const node = NodeOf(step);
  if (node == nullptr || node->operands.size() != of.inputs.size() ||
      node->results.size() != of.outputs.size()) {
    return absl::InvalidArgumentError(
        StrCat("step ", of.name, ": expected a node of that name that reads and gives as much, ",
               "got none in the plan's graph"));
  }
  // What the step reads, by the graph's names; a cache is one buffer under several.
  std::map<std::string, std::pair<int32_t, ValueId>> known;
  for (size_t i = 0; i < of.inputs.size(); ++i) {
    const ValueId id = node->operands[i];
    if (id == kNoValue || graph_.value(id).kind == ValueKind::kWeight) continue;
    known[graph_.value(id).name] = {of.inputs[i], id};
  }
  for (const ValueId id : graph_.params) {
    const auto buffer = buffers_.find(graph_.value(id).name);
    if (buffer != buffers_.end()) known.try_emplace(buffer->first, buffer->second, id);
  }
  std::vector<ValueId> results;
  for (const ValueId id : node->results) {
    const Value& value = graph_.value(id);
    const ValueId other = graph.FindValue(value.name, /*weight=*/false);
    if (other == kNoValue || !(graph.value(other).type == value.type)) {
      return absl::InvalidArgumentError(StrCat("expected ", RefText(value), ": ",
                                               ToString(value.type), ", got none in that graph"));
    }
    results.push_back(other);
  }
  const RecordedValue recorded = [&](ValueId id) -> absl::StatusOr<std::optional<HostTensor>> {
    const Value& value = graph.value(id);
    const auto found = known.find(value.name);
    if (found == known.end()) return std::nullopt;
    const TensorType& type = graph_.value(found->second.second).type;
    if (!(type == value.type)) {
      return absl::InvalidArgumentError(StrCat("expected ", RefText(value), ": ", ToString(type),
                                               ", got ", ToString(value.type), " in that graph"));
    }
    return Read(found->second.first);
  };
  return CutOut(graph, results, recorded, Sizes());
}

}  // namespace renga
