#include "ir/trace/replay.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "ir/base/status.h"

namespace renga {
namespace {

// The part of a graph between recorded values and one that is asked for, as a graph of its own:
// the recorded values are its parameters.
class Cone {
 public:
  Cone(const Graph& graph, const std::vector<int>& producer, const RecordedValue& recorded)
      : graph_(graph), producer_(producer), recorded_(recorded) {
    cone_.symbols = graph.symbols;
  }

  absl::Status Collect(ValueId value) {
    // Depth first without recursion: graphs are deep.
    std::vector<ValueId> open = {value};
    std::vector<int> nodes;
    while (!open.empty()) {
      const ValueId id = open.back();
      open.pop_back();
      if (ids_.contains(id)) continue;
      RENGA_ASSIGN_OR_RETURN(const bool stop, Leaf(id, id == value));
      if (stop) continue;
      if (producer_[id] < 0) {
        return absl::InvalidArgumentError(
            StrCat("expected a recorded value for ", RefText(graph_.value(id)), ", got none"));
      }
      const Node& node = graph_.nodes[producer_[id]];
      nodes.push_back(producer_[id]);
      for (const ValueId result : node.results) Add(result, ValueKind::kResult);
      for (const ValueId operand : node.operands) {
        if (operand != kNoValue) open.push_back(operand);
      }
    }
    std::sort(nodes.begin(), nodes.end());
    for (const int index : nodes) {
      Node node = graph_.nodes[index];
      for (ValueId& id : node.operands) id = id == kNoValue ? kNoValue : ids_[id];
      for (ValueId& id : node.results) id = ids_[id];
      cone_.nodes.push_back(std::move(node));
    }
    cone_.returns = {ids_[value]};
    return absl::OkStatus();
  }

  // After Collect.
  void ReturnAll(const std::vector<ValueId>& results) {
    cone_.returns.clear();
    for (const ValueId id : results) cone_.returns.push_back(ids_[id]);
  }

  absl::StatusOr<std::vector<HostTensor>> Run(const WeightBytes& weights, SymbolValues symbols,
                                              int threads) {
    for (size_t i = 0; i < params_.size(); ++i) {
      const Value& param = cone_.value(cone_.params[i]);
      RENGA_RETURN_IF_ERROR(
          Annotate(BindSymbols(param.type, params_[i].shape, &symbols), RefText(param)));
    }
    RENGA_ASSIGN_OR_RETURN(const auto interpreter,
                           Interpreter::Create(cone_, weights, /*fixed=*/{}, threads));
    // A size that nothing in the cone uses may be anything.
    for (const SymbolDef& def : cone_.symbols) symbols.try_emplace(def.name, def.min);
    RENGA_RETURN_IF_ERROR(interpreter->Run(symbols, params_));
    std::vector<HostTensor> results;
    for (size_t i = 0; i < cone_.returns.size(); ++i) {
      results.push_back(interpreter->Return(static_cast<int>(i)));
    }
    return results;
  }

 private:
  void Add(ValueId id, ValueKind kind) {
    const Value& value = graph_.value(id);
    ids_.emplace(id, cone_.AddValue(value.name, value.type, kind));
  }

  absl::StatusOr<bool> Leaf(ValueId id, bool asked_for) {
    if (const Value& value = graph_.value(id); value.kind == ValueKind::kWeight) {
      if (value.packed()) {
        const ValueId source = value.source;
        if (!ids_.contains(source)) Add(source, ValueKind::kWeight);
        ids_.emplace(id, cone_.AddPacked(value.name, ids_[source], value.layout));
        return true;
      }
      Add(id, ValueKind::kWeight);
      return true;
    }
    if (asked_for) return false;
    RENGA_ASSIGN_OR_RETURN(std::optional<HostTensor> tensor, recorded_(id));
    if (!tensor.has_value()) return false;
    Add(id, ValueKind::kParam);
    params_.push_back(*std::move(tensor));
    return true;
  }

  const Graph& graph_;
  const std::vector<int>& producer_;
  const RecordedValue& recorded_;
  absl::flat_hash_map<ValueId, ValueId> ids_;  // the graph's to the cone's
  Graph cone_;
  std::vector<HostTensor> params_;
};

}  // namespace

absl::Status BindSymbols(const TensorType& type, const std::vector<int64_t>& shape,
                         SymbolValues* symbols) {
  const auto mismatch = [&] {
    return absl::InvalidArgumentError(
        StrCat("expected ", ToString(type), ", got sizes [", StrJoin(shape, ","), "]"));
  };
  if (type.shape.size() != shape.size()) return mismatch();
  for (size_t axis = 0; axis < shape.size(); ++axis) {
    const Dim& dim = type.shape[axis];
    const int64_t size =
        dim.is_symbol() ? symbols->try_emplace(dim.symbol, shape[axis]).first->second : dim.value;
    if (size != shape[axis]) return mismatch();
  }
  return absl::OkStatus();
}

HostTensor ToHostTensor(const TracedValue& value) {
  HostTensor tensor;
  tensor.dtype = value.dtype;
  tensor.shape = value.shape;
  if (value.dtype != DType::kI32) {
    tensor.f = AsFloats(value);
    return tensor;
  }
  tensor.i.resize(value.elements());
  if (!tensor.i.empty()) {
    std::memcpy(tensor.i.data(), value.data.data(), tensor.i.size() * sizeof(int32_t));
  }
  return tensor;
}

TracedValue ToTracedValue(const HostTensor& tensor, std::vector<uint8_t>* bytes) {
  TracedValue value;
  // The interpreter's numbers are f32 that the declared type can hold.
  value.dtype = tensor.dtype == DType::kI32 ? DType::kI32 : DType::kF32;
  value.shape = tensor.shape;
  bytes->resize(tensor.elements() * sizeof(float));
  const void* from = tensor.dtype == DType::kI32 ? static_cast<const void*>(tensor.i.data())
                                                 : static_cast<const void*>(tensor.f.data());
  if (!bytes->empty()) std::memcpy(bytes->data(), from, bytes->size());
  value.data = *bytes;
  return value;
}

Replayer::Replayer(const Graph& graph, const WeightBytes& weights, int threads)
    : graph_(graph), weights_(weights), threads_(threads), producer_(ComputeUses(graph).producer) {}

absl::StatusOr<HostTensor> Replayer::Replay(ValueId value, const RecordedValue& recorded,
                                            const SymbolValues& symbols) const {
  RENGA_ASSIGN_OR_RETURN(std::vector<HostTensor> results,
                         Run(value, /*all=*/false, recorded, symbols));
  return std::move(results[0]);
}

absl::StatusOr<std::vector<HostTensor>> Replayer::ReplayAll(ValueId value,
                                                            const RecordedValue& recorded,
                                                            const SymbolValues& symbols) const {
  return Run(value, /*all=*/true, recorded, symbols);
}

absl::StatusOr<std::vector<HostTensor>> Replayer::Run(ValueId value, bool all,
                                                      const RecordedValue& recorded,
                                                      const SymbolValues& symbols) const {
  const auto annotate = [&](const absl::Status& status) {
    return Annotate(status, StrCat("replay of ", RefText(graph_.value(value))));
  };
  Cone cone(graph_, producer_, recorded);
  if (absl::Status status = cone.Collect(value); !status.ok()) return annotate(status);
  if (all) cone.ReturnAll(graph_.nodes[static_cast<size_t>(producer_[value])].results);
  absl::StatusOr<std::vector<HostTensor>> results = cone.Run(weights_, symbols, threads_);
  if (!results.ok()) return annotate(results.status());
  return results;
}

}  // namespace renga
