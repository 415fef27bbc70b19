#include "tools/step_cost.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "absl/container/flat_hash_map.h"
#include "ir/base/status.h"
#include "ir/core/decompose.h"
#include "ir/text/parse.h"
#include "runtime/plan/layout.h"

namespace renga {
namespace {

constexpr int kMissing = -1;

// Elements of `type` for one token or one row.
double ElementsOfOne(const TensorType& type) {
  double elements = 1;
  for (const Dim& dim : type.shape) {
    if (!dim.is_symbol()) elements *= static_cast<double>(dim.value);
  }
  return elements;
}

bool IsByRow(const TensorType& type) { return !type.shape.empty() && type.shape[0].symbol == "R"; }

double BytesOf(DType type, double elements) {
  return elements / Info(type).block_elements * Info(type).block_bytes;
}

int FindOperand(const OpDef& op, std::string_view name) {
  for (size_t i = 0; i < op.operands.size(); ++i) {
    if (op.operands[i].name == name) return static_cast<int>(i);
  }
  return kMissing;
}

// How much of a weight an operator reads for one token; an operator without a row reads all of it.
struct PartialRead {
  std::string_view op;
  std::string_view operand;
  int rows_axis;           // the weight's axis that is chosen from
  std::string_view chose;  // operand whose last axis says how many; empty: one
};
constexpr PartialRead kPartialReads[] = {{"embed", "table", 0, ""},
                                         {"expert_linear", "weight", 0, "experts"}};

// The operators that read a cache, and which of the others says what they see of it.
struct CacheRead {
  std::string_view op;
  std::string_view cache;    // operand
  bool mask_is_used_before;  // the mask makes the operand "p", instead of taking the result
};
constexpr CacheRead kCacheReads[] = {{"attn_scores", "k_cache", false},
                                     {"attn_values", "v_cache", true}};
constexpr std::string_view kMask = "masked_softmax";

// Keys that the queries at `first` to `first` + `count` - 1 see of `first` + `count`: all pairs,
// and how many different ones.
struct KeysSeen {
  double pairs = 0;
  int64_t keys = 0;
};

KeysSeen CountKeys(int64_t first, int64_t count, bool causal, int64_t window) {
  const int64_t last = first + count - 1;
  KeysSeen seen;
  const auto begin_of = [window](int64_t query) {
    return window == 0 ? 0 : std::max<int64_t>(0, query - window + 1);
  };
  for (int64_t query = first; query <= last; ++query) {
    seen.pairs += static_cast<double>((causal ? query : last) - begin_of(query) + 1);
  }
  seen.keys = last - begin_of(first) + 1;
  return seen;
}

}  // namespace

class StepCosts::Builder {
 public:
  explicit Builder(const plan::Plan& plan) {
    for (const plan::Buffer& buffer : plan.buffers) {
      if (buffer.space != plan::Space::kWeight) continue;
      stored_bytes_[buffer.name] =
          static_cast<double>(plan::StoredBytes(plan.weights[buffer.index]));
    }
  }

  absl::StatusOr<StepCosts> Build(const Graph& graph) {
    graph_ = &graph;
    std::vector<ValueId> same(graph.values.size());
    for (size_t i = 0; i < same.size(); ++i) same[i] = static_cast<ValueId>(i);
    RENGA_RETURN_IF_ERROR(AddNodes(graph, same));
    std::stable_sort(costs_.reads_.begin(), costs_.reads_.end(),
                     [](const Read& a, const Read& b) { return a.weight < b.weight; });
    return std::move(costs_);
  }

 private:
  // `outer`: the value of the plan's graph that a value of `graph` is; kNoValue for an inner one.
  absl::Status AddNodes(const Graph& graph, const std::vector<ValueId>& outer) {
    const Masks masks = FindMasks(graph);
    for (const Node& node : graph.nodes) {
      if (node.op->fused()) {
        RENGA_RETURN_IF_ERROR(AddFused(graph, node, outer));
      } else {
        RENGA_RETURN_IF_ERROR(AddPrimitive(graph, node, outer));
        RENGA_RETURN_IF_ERROR(AddAttention(graph, node, masks));
      }
    }
    return absl::OkStatus();
  }

  absl::Status AddFused(const Graph& graph, const Node& node, const std::vector<ValueId>& outer) {
    RENGA_ASSIGN_OR_RETURN(const Decomposition parts,
                           Decompose(graph, *node.op, node.operands, node.attrs));
    std::vector<ValueId> inner(parts.graph.values.size(), kNoValue);
    for (size_t i = 0; i < node.operands.size(); ++i) {
      if (node.operands[i] != kNoValue) inner[parts.operands[i]] = outer[node.operands[i]];
    }
    return AddNodes(parts.graph, inner);
  }

  absl::Status AddPrimitive(const Graph& graph, const Node& node,
                            const std::vector<ValueId>& outer) {
    const TensorType& result = graph.value(node.results[0]).type;
    for (size_t i = 0; i < node.operands.size(); ++i) {
      const ValueId id = node.operands[i] == kNoValue ? kNoValue : outer[node.operands[i]];
      if (id == kNoValue || graph_->value(id).kind != ValueKind::kWeight) continue;
      RENGA_RETURN_IF_ERROR(AddRead(graph, node, static_cast<int>(i), id));
      if (!node.op->operands[i].product) continue;
      const double width = static_cast<double>(graph_->value(id).type.shape.back().value);
      costs_.products_.push_back({2 * ElementsOfOne(result) * width, IsByRow(result)});
    }
    return absl::OkStatus();
  }

  absl::Status AddRead(const Graph& graph, const Node& node, int operand, ValueId weight) {
    const Value& value = graph_->value(weight);
    const auto bytes = stored_bytes_.find(value.name);
    if (bytes == stored_bytes_.end()) {
      return absl::InvalidArgumentError(StrCat(
          "the plan's graph: ", RefText(value),
          ": expected a weight of the plan, got one that it does not hold; compile it again"));
    }
    Read read = {weight, bytes->second, 0, 1, IsByRow(graph.value(node.results[0]).type)};
    for (const PartialRead& partial : kPartialReads) {
      if (partial.op != node.op->name || partial.operand != node.op->operands[operand].name) {
        continue;
      }
      read.unit_bytes = read.bytes / static_cast<double>(value.type.shape[partial.rows_axis].value);
      if (partial.chose.empty()) continue;
      const ValueId chose = node.operands[FindOperand(*node.op, partial.chose)];
      read.units = graph.value(chose).type.shape.back().value;
    }
    costs_.reads_.push_back(read);
    return absl::OkStatus();
  }

  // The mask of scores, by its operand and by its result.
  using Masks = absl::flat_hash_map<ValueId, const Node*>;

  static Masks FindMasks(const Graph& graph) {
    Masks masks;
    for (const Node& node : graph.nodes) {
      if (node.op->name == kMask) masks[node.operands[0]] = masks[node.results[0]] = &node;
    }
    return masks;
  }

  absl::Status AddAttention(const Graph& graph, const Node& node, const Masks& masks) {
    for (const CacheRead& reads : kCacheReads) {
      if (reads.op != node.op->name) continue;
      const auto mask = masks.find(reads.mask_is_used_before ? node.operands[0] : node.results[0]);
      if (mask == masks.end()) {
        return absl::InvalidArgumentError(StrCat("the plan's graph: ", NodeName(graph, node),
                                                 ": expected a ", kMask, " beside ", reads.op,
                                                 ", got none; compile the model again"));
      }
      const TensorType& cache = graph.value(node.operands[FindOperand(*node.op, reads.cache)]).type;
      const TensorType& scores = graph.value(mask->second->operands[0]).type;
      const double heads = static_cast<double>(scores.shape[1].value);
      const double head_dim = static_cast<double>(cache.shape[2].value);
      const AttrMap& attrs = mask->second->attrs;
      costs_.attentions_.push_back({2 * heads * head_dim,
                                    BytesOf(cache.dtype, ElementsOfOne(cache)),
                                    std::get<bool>(attrs.find("causal")->second),
                                    std::get<int64_t>(attrs.find("window")->second)});
    }
    return absl::OkStatus();
  }

  const Graph* graph_ = nullptr;
  absl::flat_hash_map<std::string, double> stored_bytes_;
  StepCosts costs_;
};

absl::StatusOr<StepCosts> StepCosts::Of(const plan::Plan& plan) {
  RENGA_ASSIGN_OR_RETURN(const Graph graph, Parse(plan.ir, "the plan's graph"));
  return Builder(plan).Build(graph);
}

std::vector<StepShape> ShapesOf(const StepInputs& inputs) {
  std::vector<StepShape> shapes;
  std::vector<size_t> ends;  // of each shape's tokens
  for (size_t i = 0; i < inputs.tokens.size(); ++i) {
    if (i == 0 || inputs.sequences[i] != inputs.sequences[i - 1]) {
      shapes.push_back({.position = inputs.positions[i], .tokens = 0, .rows = 0});
      ends.push_back(i);
    }
    ++shapes.back().tokens;
    ++ends.back();
  }
  for (int32_t row : inputs.rows) {
    const auto shape = std::upper_bound(ends.begin(), ends.end(), static_cast<size_t>(row));
    ++shapes[static_cast<size_t>(shape - ends.begin())].rows;
  }
  return shapes;
}

StepCost StepCosts::Cost(absl::Span<const StepShape> sequences) const {
  int64_t tokens = 0, rows = 0;
  for (const StepShape& sequence : sequences) {
    tokens += sequence.tokens;
    rows += sequence.rows;
  }
  StepCost cost;
  for (size_t begin = 0, end; begin < reads_.size(); begin = end) {
    double bytes = 0;
    for (end = begin; end < reads_.size() && reads_[end].weight == reads_[begin].weight; ++end) {
      const Read& read = reads_[end];
      const int64_t count = read.by_row ? rows : tokens;
      if (count == 0) continue;
      const double parts = read.unit_bytes * static_cast<double>(read.units * count);
      bytes = std::max(bytes, read.unit_bytes == 0 ? read.bytes : std::min(read.bytes, parts));
    }
    cost.bytes += bytes;
  }
  for (const Product& product : products_) {
    cost.flops += product.flops * static_cast<double>(product.by_row ? rows : tokens);
  }
  for (const Attention& attention : attentions_) {
    for (const StepShape& sequence : sequences) {
      const KeysSeen seen =
          CountKeys(sequence.position, sequence.tokens, attention.causal, attention.window);
      cost.flops += attention.flops * seen.pairs;
      cost.bytes += attention.cell_bytes * static_cast<double>(seen.keys);
    }
  }
  return cost;
}

}  // namespace renga
