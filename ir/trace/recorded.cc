#include "ir/trace/recorded.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "ir/base/status.h"
#include "ir/base/windows.h"
#include "ir/trace/replay.h"
#include "ir/trace/run_params.h"

namespace renga {

Recorded::Recorded(const Graph& graph, const TraceRun& run,
                   absl::flat_hash_map<ValueId, const TracedValue*> values, const StepState* state)
    : graph_(graph), run_(run), values_(std::move(values)), state_(state) {
  if (state_ != nullptr) {
    symbols_ = state_->symbols;
    return;
  }
  symbols_ = RunSymbols(graph, run.ids);
  for (const auto& [id, value] : values_) {
    SymbolValues sizes;
    // Shapes that do not fit are reported where the value is needed.
    if (!BindSymbols(graph.value(id).type, value->shape, &sizes).ok()) continue;
    for (const auto& [name, size] : sizes) symbols_.try_emplace(name, size);
  }
  // Of caches the cells that were written are recorded; who reads them reads whole pages.
  const int64_t page = PageTokens(graph);
  for (auto& [name, cells] : symbols_) {
    if (SplitWindow(name).base == "C") cells = (cells + page - 1) / page * page;
  }
}

const TracedValue* Recorded::Find(ValueId id) const {
  const auto found = values_.find(id);
  return found == values_.end() ? nullptr : found->second;
}

absl::StatusOr<std::optional<HostTensor>> Recorded::operator()(ValueId id) const {
  const Value& value = graph_.value(id);
  if (state_ != nullptr && (value.kind == ValueKind::kParam || value.kind == ValueKind::kCache)) {
    return Given(value);
  }
  if (value.kind == ValueKind::kParam) {
    RENGA_ASSIGN_OR_RETURN(HostTensor tensor, RunParam(graph_, id, run_.ids));
    return tensor;
  }
  if (value.kind == ValueKind::kCache) return Zeros(value);  // before the run
  const TracedValue* traced = Find(id);
  if (traced == nullptr) return std::nullopt;
  HostTensor tensor = ToHostTensor(*traced);
  tensor.dtype = value.type.dtype;
  for (float& x : tensor.f) x = RoundTo(tensor.dtype, x);
  const std::vector<Dim>& shape = value.type.shape;
  const bool cells = !shape.empty() && SplitWindow(shape[0].symbol).base == "C" &&
                     !tensor.shape.empty() && tensor.shape[0] > 0 &&
                     value.type.dtype != DType::kI32;
  if (cells) {
    const size_t cell = tensor.f.size() / static_cast<size_t>(tensor.shape[0]);
    tensor.shape[0] = std::max(tensor.shape[0], symbols_.at(shape[0].symbol));
    tensor.f.resize(static_cast<size_t>(tensor.shape[0]) * cell);
  }
  return tensor;
}

absl::StatusOr<std::optional<HostTensor>> Recorded::Given(const Value& value) const {
  const auto& given = value.kind == ValueKind::kParam ? state_->params : state_->caches;
  const auto found = given.find(value.name);
  if (found != given.end()) return found->second;
  return absl::InvalidArgumentError(
      StrCat(RefText(value), ": expected what the step was given, got none"));
}

absl::StatusOr<std::optional<HostTensor>> Recorded::Zeros(const Value& value) const {
  HostTensor tensor;
  tensor.dtype = value.type.dtype;
  for (const Dim& dim : value.type.shape) {
    const auto bound = symbols_.find(dim.symbol);
    if (dim.is_symbol() && bound == symbols_.end()) {
      return absl::InvalidArgumentError(
          StrCat(RefText(value), ": the size ", dim.symbol, " was not recorded"));
    }
    tensor.shape.push_back(dim.is_symbol() ? bound->second : dim.value);
  }
  tensor.Allocate();
  return tensor;
}

}  // namespace renga
