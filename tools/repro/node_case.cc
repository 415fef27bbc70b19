#include "tools/repro/node_case.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "ir/base/status.h"
#include "ir/core/verify.h"

namespace renga {
namespace {

class Cutter {
 public:
  Cutter(const Graph& graph, const RecordedValue& recorded)
      : graph_(graph), recorded_(recorded), producer_(ComputeUses(graph).producer) {}

  absl::StatusOr<NodeCase> Cut(const std::vector<ValueId>& results, const SymbolValues& symbols) {
    std::set<int> nodes;
    std::vector<ValueId> open = results;
    const std::set<ValueId> asked(results.begin(), results.end());
    while (!open.empty()) {
      const ValueId id = open.back();
      open.pop_back();
      if (ids_.contains(id)) continue;
      RENGA_ASSIGN_OR_RETURN(const bool leaf, AddLeaf(id, asked.contains(id)));
      if (leaf) continue;
      if (producer_[id] < 0) {
        return absl::InvalidArgumentError(
            StrCat("expected a recorded value for ", RefText(graph_.value(id)), ", got none"));
      }
      nodes.insert(producer_[id]);
      const Node& node = graph_.nodes[producer_[id]];
      for (const ValueId result : node.results) Add(result, ValueKind::kResult);
      for (const ValueId operand : node.operands) {
        if (operand != kNoValue) open.push_back(operand);
      }
    }
    part_.graph.name = "repro";
    std::vector<ValueId> returns;
    for (const ValueId id : results) returns.push_back(ids_[id]);
    for (const int index : nodes) {  // ascending: in the graph's order
      Node node = graph_.nodes[index];
      node.provenance.clear();
      for (ValueId& id : node.operands) id = id == kNoValue ? kNoValue : ids_[id];
      for (ValueId& id : node.results) id = ids_[id];
      for (const Alias& alias : node.op->aliases) {
        const ValueId written = node.results[alias.result];
        if (std::find(returns.begin(), returns.end(), written) == returns.end()) {
          returns.push_back(written);
        }
      }
      part_.graph.nodes.push_back(std::move(node));
    }
    part_.graph.returns = std::move(returns);
    RENGA_RETURN_IF_ERROR(BindSizes(symbols));
    RemovePacking(part_.graph);
    RENGA_RETURN_IF_ERROR(Annotate(Verify(part_.graph), "a part of the graph"));
    return std::move(part_);
  }

 private:
  void Add(ValueId id, ValueKind kind) {
    const Value& value = graph_.value(id);
    if (ids_.contains(id)) return;
    ids_.emplace(id, part_.graph.AddValue(value.name, value.type, kind));
  }

  absl::StatusOr<bool> AddLeaf(ValueId id, bool asked_for) {
    const Value& value = graph_.value(id);
    if (value.kind == ValueKind::kWeight) {
      if (value.packed()) {
        Add(value.source, ValueKind::kWeight);
        ids_.emplace(id, part_.graph.AddPacked(value.name, ids_[value.source], value.layout));
      } else {
        Add(id, ValueKind::kWeight);
      }
      return true;
    }
    if (asked_for) return false;
    RENGA_ASSIGN_OR_RETURN(std::optional<HostTensor> tensor, recorded_(id));
    if (!tensor) return false;
    const bool cache = value.kind == ValueKind::kCache;
    Add(id, cache ? ValueKind::kCache : ValueKind::kParam);
    (cache ? part_.caches : part_.params).push_back(*std::move(tensor));
    return true;
  }

  // The sizes of this run, within the bounds that the part declares.
  absl::Status BindSizes(const SymbolValues& symbols) {
    SymbolValues sizes;
    std::set<std::string> used;
    const auto bind = [&](const std::vector<ValueId>& ids, const std::vector<HostTensor>& tensors) {
      for (size_t i = 0; i < ids.size(); ++i) {
        const Value& value = part_.graph.value(ids[i]);
        RENGA_RETURN_IF_ERROR(
            Annotate(BindSymbols(value.type, tensors[i].shape, &sizes), RefText(value)));
      }
      return absl::OkStatus();
    };
    RENGA_RETURN_IF_ERROR(bind(part_.graph.params, part_.params));
    RENGA_RETURN_IF_ERROR(bind(part_.graph.caches, part_.caches));
    for (const Value& value : part_.graph.values) {
      for (const Dim& dim : value.type.shape) {
        if (dim.is_symbol()) used.insert(dim.symbol);
      }
    }
    // Attention's span is named by an attribute of its node.
    for (const Node& node : part_.graph.nodes) {
      for (const auto& [name, value] : node.attrs) {
        const std::string* text = std::get_if<std::string>(&value);
        if (text != nullptr && graph_.FindSymbol(*text) != nullptr) used.insert(*text);
      }
    }
    for (const SymbolDef& def : graph_.symbols) {
      if (!used.contains(def.name)) continue;
      const auto given = symbols.find(def.name);
      const int64_t size = sizes.contains(def.name) ? sizes[def.name]
                           : given == symbols.end() ? def.min
                                                    : given->second;
      part_.symbols[def.name] = size;
      part_.graph.symbols.push_back({def.name, std::min(def.min, size), std::max(def.max, size)});
    }
    return absl::OkStatus();
  }

  const Graph& graph_;
  const RecordedValue& recorded_;
  const std::vector<int> producer_;
  std::map<ValueId, ValueId> ids_;  // the graph's to the part's
  NodeCase part_;
};

}  // namespace

absl::StatusOr<NodeCase> CutOut(const Graph& graph, const std::vector<ValueId>& results,
                                const RecordedValue& recorded, const SymbolValues& symbols) {
  return Cutter(graph, recorded).Cut(results, symbols);
}

absl::StatusOr<std::vector<HostTensor>> Evaluate(const NodeCase& part, const WeightBytes& weights,
                                                 int threads) {
  SymbolValues fixed;
  for (const ValueId id : part.graph.caches) {
    for (const Dim& dim : part.graph.value(id).type.shape) {
      if (dim.is_symbol()) fixed[dim.symbol] = part.symbols.at(dim.symbol);
    }
  }
  RENGA_ASSIGN_OR_RETURN(const auto interpreter,
                         Interpreter::Create(part.graph, weights, fixed, threads));
  for (size_t i = 0; i < part.caches.size(); ++i) {
    interpreter->Cache(static_cast<int>(i)).f = part.caches[i].f;
  }
  SymbolValues symbols;
  for (const auto& [name, size] : part.symbols) {
    if (!fixed.contains(name)) symbols.emplace(name, size);
  }
  RENGA_RETURN_IF_ERROR(interpreter->Run(symbols, part.params));
  std::vector<HostTensor> results;
  for (size_t i = 0; i < part.graph.returns.size(); ++i) {
    results.push_back(interpreter->Return(static_cast<int>(i)));
  }
  return results;
}

}  // namespace renga
