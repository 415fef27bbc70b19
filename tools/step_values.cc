#include "tools/step_values.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "ir/base/status.h"
#include "ir/base/windows.h"
#include "ir/text/parse.h"
#include "runtime/plan/layout.h"

namespace renga {

absl::StatusOr<StepValues> StepValues::Create(std::shared_ptr<const StepMemory> memory) {
  StepValues self(std::move(memory));
  const plan::Plan& plan = self.plan();
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

absl::StatusOr<std::vector<int32_t>> StepValues::Input(const std::string& name) const {
  const auto found = buffers_.find(name);
  if (found == buffers_.end()) return std::vector<int32_t>();
  RENGA_ASSIGN_OR_RETURN(HostTensor tensor, ReadTensor(*memory_, found->second, 0));
  return std::move(tensor.i);
}

absl::StatusOr<int64_t> StepValues::Cells(int64_t window) const {
  const int64_t page = plan().geometry.page_tokens;
  int64_t pages = 1;
  RENGA_ASSIGN_OR_RETURN(const std::vector<int32_t> table, Input(WindowInput("pages", window)));
  RENGA_ASSIGN_OR_RETURN(const std::vector<int32_t> cells, Input(WindowInput("cells", window)));
  for (const int32_t number : table) pages = std::max<int64_t>(pages, number + 1);
  for (const int32_t cell : cells) pages = std::max<int64_t>(pages, cell / page + 1);
  return pages * page;
}

int64_t StepValues::WindowOf(int32_t buffer) const {
  const plan::Buffer& of = plan().buffers[static_cast<size_t>(buffer)];
  if (of.space != plan::Space::kCache) return 0;
  return plan::WindowOf(plan(), plan().caches[static_cast<size_t>(of.index)].group);
}

absl::StatusOr<HostTensor> StepValues::Read(int32_t buffer) const {
  const bool cache = plan().buffers[static_cast<size_t>(buffer)].space == plan::Space::kCache;
  int64_t cells = 0;
  if (cache) {
    RENGA_ASSIGN_OR_RETURN(cells, Cells(WindowOf(buffer)));
  }
  return ReadTensor(*memory_, buffer, cells);
}

absl::Status StepValues::Write(int32_t buffer, const HostTensor& tensor) const {
  RENGA_ASSIGN_OR_RETURN(const std::vector<int32_t> cells,
                         Input(WindowInput("cells", WindowOf(buffer))));
  return WriteTensor(*memory_, buffer, tensor, cells);
}

absl::StatusOr<SymbolValues> StepValues::Sizes() const {
  SymbolValues sizes;
  for (size_t i = 0; i < plan().symbols.size(); ++i) {
    const WindowName symbol = SplitWindow(plan().symbols[i].name);
    int64_t& size = sizes[plan().symbols[i].name];
    size = memory_->sizes()[i];
    if (symbol.base != "C") continue;
    RENGA_ASSIGN_OR_RETURN(size, Cells(symbol.window));
  }
  return sizes;
}

absl::StatusOr<NodeCase> StepValues::CutOutStep(const Graph& graph, int step) const {
  const plan::Step& of = plan().steps[static_cast<size_t>(step)];
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
    RENGA_ASSIGN_OR_RETURN(HostTensor tensor, Read(found->second.first));
    return tensor;
  };
  RENGA_ASSIGN_OR_RETURN(const SymbolValues sizes, Sizes());
  return CutOut(graph, results, recorded, sizes);
}

}  // namespace renga
