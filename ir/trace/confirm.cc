#include "ir/trace/confirm.h"

#include <algorithm>
#include <thread>

#include "absl/container/flat_hash_map.h"
#include "ir/base/status.h"
#include "ir/trace/replay.h"
#include "ir/trace/run_params.h"

namespace renga {
namespace {

// What a recorded, under the ids of b's graph.
class RecordedByA {
 public:
  explicit RecordedByA(const ConfirmInputs& inputs) : inputs_(inputs) {
    absl::flat_hash_map<std::string_view, const TracedValue*> by_name;
    for (const TracedValue& value : inputs.a.values) by_name.emplace(value.name, &value);
    for (const auto& [a_id, b_id] : inputs.pairs) {
      const Value& value = inputs.a_graph.value(a_id);
      if (value.kind != ValueKind::kResult) continue;  // what a run is given, RunParam knows
      const auto found = by_name.find(value.name);
      if (found != by_name.end()) values_.emplace(b_id, found->second);
    }
    symbols_ = RunSymbols(inputs.b_graph, inputs.a.run.ids);
    for (const auto& [b_id, value] : values_) {
      const TensorType& type = inputs.b_graph.value(b_id).type;
      SymbolValues sizes;
      // Shapes that do not fit are reported where the value is needed.
      if (!BindSymbols(type, value->shape, &sizes).ok()) continue;
      for (const auto& [name, size] : sizes) symbols_.try_emplace(name, size);
    }
  }

  const TracedValue* Find(ValueId id) const {
    const auto found = values_.find(id);
    return found == values_.end() ? nullptr : found->second;
  }
  const SymbolValues& symbols() const { return symbols_; }

  absl::StatusOr<std::optional<HostTensor>> operator()(ValueId id) const {
    const Value& value = inputs_.b_graph.value(id);
    if (value.kind == ValueKind::kParam) {
      RENGA_ASSIGN_OR_RETURN(HostTensor tensor, RunParam(inputs_.b_graph, id, inputs_.a.run.ids));
      return tensor;
    }
    if (value.kind == ValueKind::kCache) return Zeros(value);  // before the run
    const TracedValue* traced = Find(id);
    if (traced == nullptr) return std::nullopt;
    HostTensor tensor = ToHostTensor(*traced);
    tensor.dtype = value.type.dtype;
    for (float& x : tensor.f) x = RoundTo(tensor.dtype, x);
    return tensor;
  }

 private:
  absl::StatusOr<std::optional<HostTensor>> Zeros(const Value& value) const {
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

  const ConfirmInputs& inputs_;
  absl::flat_hash_map<ValueId, const TracedValue*> values_;
  SymbolValues symbols_;
};

}  // namespace

absl::Status ConfirmByReplay(const ConfirmInputs& inputs, TraceComparison* comparison) {
  const int threads = inputs.threads > 0
                          ? inputs.threads
                          : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  const RecordedByA recorded(inputs);
  const RecordedValue lookup = [&](ValueId id) { return recorded(id); };
  const Replayer replayer(inputs.b_graph, inputs.b_weights, threads);
  absl::flat_hash_map<std::string_view, ValueId> b_ids;
  for (const auto& [a_id, b_id] : inputs.pairs) {
    const Value& value = inputs.b_graph.value(b_id);
    if (value.kind == ValueKind::kResult) b_ids.emplace(value.name, b_id);
  }
  comparison->unexplained.clear();
  for (size_t i = 0; i < comparison->values.size(); ++i) {
    ComparedValue& value = comparison->values[i];
    const auto id = b_ids.find(value.b_name);
    if (!value.within() && id != b_ids.end()) {
      const TracedValue* expected = recorded.Find(id->second);
      const absl::StatusOr<HostTensor> got =
          replayer.Replay(id->second, lookup, recorded.symbols());
      if (got.ok() && expected != nullptr) {
        std::vector<uint8_t> bytes;
        TracedValue again = ToTracedValue(*got, &bytes);
        again.name = value.b_name;
        again.axes = expected->axes;
        RENGA_ASSIGN_OR_RETURN(const ValueError error,
                               CompareValues(*expected, again, value.tolerance));
        value.replayed = error.relative;
        value.unexplained = error.relative > value.tolerance || error.lone_nonfinite > 0;
      }
    }
    if (value.unexplained) comparison->unexplained.push_back(static_cast<int>(i));
  }
  return absl::OkStatus();
}

}  // namespace renga
