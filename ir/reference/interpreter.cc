#include "ir/reference/interpreter.h"

#include <algorithm>
#include <utility>

#include "ir/base/status.h"
#include "ir/core/decompose.h"
#include "ir/reference/dequant.h"
#include "ir/text/print.h"

namespace renga {
namespace {

absl::StatusOr<WeightRows> OpenWeight(const Value& value, absl::Span<const uint8_t> bytes) {
  WeightRows rows;
  int64_t count = 1;
  for (const Dim& dim : value.type.shape) {
    if (dim.is_symbol()) {
      return absl::InvalidArgumentError(
          StrCat(RefText(value), ": expected constant sizes, got ", ToString(value.type)));
    }
    rows.shape.push_back(dim.value);
  }
  for (size_t axis = 0; axis + 1 < rows.shape.size(); ++axis) count *= rows.shape[axis];
  const int64_t width = rows.shape.back();
  const int64_t row_bytes = RowBytes(value.type.dtype, width);
  if (static_cast<int64_t>(bytes.size()) != count * row_bytes) {
    return absl::InvalidArgumentError(StrCat(RefText(value), ": expected ", count * row_bytes,
                                             " bytes for ", ToString(value.type), ", got ",
                                             bytes.size()));
  }
  const DequantFn dequantise = FindDequant(value.type.dtype);
  if (dequantise == nullptr) {
    return absl::UnimplementedError(StrCat(RefText(value), ": the reference interpreter has no ",
                                           "dequantisation for ", Name(value.type.dtype)));
  }
  rows.read = [dequantise, data = bytes.data(), row_bytes, width](int64_t row, float* out) {
    dequantise(data + row * row_bytes, width, out);
  };
  return rows;
}

absl::Status CheckSize(const SymbolDef& symbol, int64_t size) {
  if (size >= symbol.min && size <= symbol.max) return absl::OkStatus();
  return absl::InvalidArgumentError(StrCat("symbol ", symbol.name, ": expected a size in ",
                                           symbol.min, "..", symbol.max, ", got ", size));
}

}  // namespace

Interpreter::Interpreter(const Graph& graph, int threads)
    : graph_(graph), threads_(threads), scope_{graph, {}, {}, {}} {}

absl::StatusOr<std::unique_ptr<Interpreter>> Interpreter::Create(const Graph& graph,
                                                                 const WeightBytes& weights,
                                                                 const SymbolValues& fixed,
                                                                 int threads) {
  std::unique_ptr<Interpreter> self(new Interpreter(graph, threads));
  self->fixed_ = self->symbols_ = fixed;
  for (const SymbolDef& def : graph.symbols) {
    const auto given = fixed.find(def.name);
    if (given != fixed.end()) RENGA_RETURN_IF_ERROR(CheckSize(def, given->second));
  }
  self->parallel_ = [threads = &self->threads_](int64_t n, const std::function<void(int64_t)>& fn) {
    threads->Run(n, fn);
  };
  self->scope_.weights.resize(graph.values.size());
  self->scope_.values.resize(graph.values.size());
  self->scope_.uses = ComputeUses(graph).count;
  for (ValueId id : graph.weights) {
    if (graph.value(id).packed()) {
      // The same rows in another order of bytes, which is nothing to whoever reads the file's.
      self->scope_.weights[id] = self->scope_.weights[graph.value(id).source];
      continue;
    }
    RENGA_ASSIGN_OR_RETURN(const auto bytes, weights(graph.value(id).name));
    RENGA_ASSIGN_OR_RETURN(self->scope_.weights[id], OpenWeight(graph.value(id), bytes));
  }
  RENGA_RETURN_IF_ERROR(self->ReadPlainWeights());
  for (ValueId id : graph.caches) {
    auto cache = std::make_shared<HostTensor>();
    cache->dtype = graph.value(id).type.dtype;
    RENGA_ASSIGN_OR_RETURN(cache->shape, self->Concrete(graph.value(id).type));
    cache->Allocate();
    self->scope_.values[id] = std::move(cache);
  }
  return self;
}

// A weight may stand where an operator takes any value: there it is a tensor like the others.
absl::Status Interpreter::ReadPlainWeights() {
  for (const Node& node : graph_.nodes) {
    for (size_t i = 0; i < node.operands.size(); ++i) {
      const ValueId id = node.operands[i];
      if (id == kNoValue || graph_.value(id).kind != ValueKind::kWeight) continue;
      if (node.op->operands[i].weight || scope_.values[id] != nullptr) continue;
      if (graph_.value(id).type.dtype == DType::kI32) {
        return absl::UnimplementedError(StrCat(RefText(graph_.value(id)), ": operand ",
                                               node.op->operands[i].name, " of ", node.op->name,
                                               ": expected no weight of integers, got one"));
      }
      auto tensor = std::make_shared<HostTensor>();
      tensor->dtype = graph_.value(id).type.dtype;
      tensor->shape = scope_.weights[id].shape;
      tensor->Allocate();
      const int64_t width = tensor->shape.back();
      for (int64_t row = 0; row < tensor->elements() / width; ++row) {
        scope_.weights[id].read(row, tensor->f.data() + row * width);
      }
      scope_.values[id] = std::move(tensor);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<int64_t>> Interpreter::Concrete(const TensorType& type) const {
  std::vector<int64_t> shape;
  for (const Dim& dim : type.shape) {
    if (!dim.is_symbol()) {
      shape.push_back(dim.value);
      continue;
    }
    const auto bound = symbols_.find(dim.symbol);
    if (bound == symbols_.end()) {
      return absl::InvalidArgumentError(
          StrCat("symbol ", dim.symbol, ": expected a size, got none"));
    }
    shape.push_back(bound->second);
  }
  return shape;
}

absl::Status Interpreter::Run(const SymbolValues& symbols, const std::vector<HostTensor>& params,
                              const Observer& observer) {
  symbols_ = fixed_;
  for (const SymbolDef& def : graph_.symbols) {
    const auto given = symbols.find(def.name);
    if (given != symbols.end()) symbols_.emplace(*given);  // what is fixed stays
    const auto bound = symbols_.find(def.name);
    if (bound == symbols_.end()) {
      return absl::InvalidArgumentError(StrCat("symbol ", def.name, ": expected a size, got none"));
    }
    RENGA_RETURN_IF_ERROR(CheckSize(def, bound->second));
    if (given != symbols.end() && given->second != bound->second) {
      return absl::InvalidArgumentError(StrCat("symbol ", def.name, ": expected the fixed size ",
                                               bound->second, ", got ", given->second));
    }
  }
  if (params.size() != graph_.params.size()) {
    return absl::InvalidArgumentError(
        StrCat("expected ", graph_.params.size(), " parameters, got ", params.size()));
  }
  for (size_t i = 0; i < params.size(); ++i) {
    const Value& value = graph_.value(graph_.params[i]);
    RENGA_ASSIGN_OR_RETURN(const std::vector<int64_t> shape, Concrete(value.type));
    const HostTensor& given = params[i];
    const size_t filled = given.dtype == DType::kI32 ? given.i.size() : given.f.size();
    if (given.dtype != value.type.dtype || given.shape != shape ||
        filled != static_cast<size_t>(given.elements())) {
      return absl::InvalidArgumentError(StrCat(RefText(value), ": expected ", ToString(value.type),
                                               " with sizes ", StrJoin(shape, "x"), ", got ",
                                               Name(given.dtype), " ", StrJoin(given.shape, "x")));
    }
    scope_.values[graph_.params[i]] = std::make_shared<HostTensor>(given);
  }
  scope_.uses = ComputeUses(graph_).count;
  for (const Node& node : graph_.nodes) {
    if (absl::Status status = Step(node, scope_, observer); !status.ok()) {
      return Annotate(status, PrintNode(graph_, node));
    }
  }
  return absl::OkStatus();
}

absl::Status Interpreter::Step(const Node& node, Scope& scope, const Observer& observer) {
  RENGA_RETURN_IF_ERROR(node.op->fused() ? EvaluateParts(node, scope) : Evaluate(node, scope));
  if (observer != nullptr) {
    std::vector<HostTensor*> results;
    for (ValueId id : node.results) results.push_back(scope.values[id].get());
    RENGA_RETURN_IF_ERROR(observer(node, results));
  }
  for (ValueId id : node.operands) {
    // Whatever nobody reads again is freed: scores of a long prompt are large.
    if (id != kNoValue && --scope.uses[id] == 0 &&
        scope.graph.value(id).kind == ValueKind::kResult) {
      scope.values[id] = nullptr;
    }
  }
  return absl::OkStatus();
}

absl::Status Interpreter::Evaluate(const Node& node, Scope& scope) {
  std::vector<EvalOperand> operands(node.operands.size());
  for (size_t i = 0; i < node.operands.size(); ++i) {
    const ValueId id = node.operands[i];
    if (id == kNoValue) continue;
    if (node.op->operands[i].weight) {
      operands[i].weight = &scope.weights[id];
    } else {
      operands[i].tensor = scope.values[id].get();
    }
  }
  std::vector<HostTensor*> results;
  for (size_t r = 0; r < node.results.size(); ++r) {
    std::shared_ptr<HostTensor>& slot = scope.values[node.results[r]];
    slot = nullptr;
    for (const Alias& alias : node.op->aliases) {
      if (alias.result == static_cast<int>(r)) slot = scope.values[node.operands[alias.operand]];
    }
    if (slot == nullptr) {
      slot = std::make_shared<HostTensor>();
      const TensorType& type = scope.graph.value(node.results[r]).type;
      slot->dtype = type.dtype;
      RENGA_ASSIGN_OR_RETURN(slot->shape, Concrete(type));
      slot->Allocate();
    }
    results.push_back(slot.get());
  }
  EvalCall call(operands, absl::MakeSpan(results), node.attrs, parallel_);
  return node.op->evaluate(call);
}

// What a fused node means is what its parts compute.
absl::Status Interpreter::EvaluateParts(const Node& node, Scope& scope) {
  RENGA_ASSIGN_OR_RETURN(const Decomposition parts,
                         Decompose(scope.graph, *node.op, node.operands, node.attrs));
  Scope inner{parts.graph, {}, {}, ComputeUses(parts.graph).count};
  inner.weights.resize(parts.graph.values.size());
  inner.values.resize(parts.graph.values.size());
  for (size_t i = 0; i < node.operands.size(); ++i) {
    if (node.operands[i] == kNoValue) continue;
    inner.weights[parts.operands[i]] = scope.weights[node.operands[i]];
    inner.values[parts.operands[i]] = scope.values[node.operands[i]];
  }
  for (const Node& part : parts.graph.nodes) {
    RENGA_RETURN_IF_ERROR(Step(part, inner, /*observer=*/nullptr));
  }
  for (size_t r = 0; r < node.results.size(); ++r) {
    scope.values[node.results[r]] = inner.values[parts.graph.returns[r]];
  }
  return absl::OkStatus();
}

}  // namespace renga
