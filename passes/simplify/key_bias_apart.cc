#include "passes/simplify/key_bias_apart.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "ir/base/status.h"
#include "passes/core/readers.h"

namespace renga {
namespace {

// Numbers of operands.
constexpr int kLinearBias = 2;
constexpr int kHeadsX = 0;
constexpr int kRopeX = 0, kRopePositions = 1, kRopeFactors = 2;
constexpr int kAppendX = 1;
constexpr int kScoresKeys = 1, kScoresBias = 4;
constexpr int kSoftmaxScores = 0, kSoftmaxPositions = 1;

// The nodes between a projection of keys and the scores, as indices into Graph::nodes.
struct Keys {
  int linear = -1, rope = -1, append = -1, scores = -1;
};

class Finder {
 public:
  explicit Finder(const Graph& graph)
      : graph_(graph), uses_(ComputeUses(graph)), readers_(ReadersOf(graph)) {}

  // What `keys`, of which `scores` is given, are; why there is no bias to take out otherwise.
  std::string Find(Keys& keys) const {
    const ValueId cells = Operand(keys.scores, kScoresKeys);
    keys.append = Producer(cells, "kv_append");
    if (keys.append < 0) return NotFrom(cells, "kv_append");
    for (const int reader : readers_[cells]) {
      if (reader != keys.scores) {
        return StrCat(Ref(cells), " is read by ", NodeText(reader), " too");
      }
    }
    const ValueId key = Operand(keys.append, kAppendX);
    keys.rope = Producer(key, "rope");
    if (keys.rope < 0) return NotFrom(key, "rope");
    if (Operand(keys.rope, kRopeFactors) != kNoValue) {
      return StrCat(Ref(key), " is turned with factors, which attn_scores has not");
    }
    if (std::string why = PositionsDiffer(keys); !why.empty()) return why;
    const ValueId heads = Operand(keys.rope, kRopeX);
    const int split = Producer(heads, "split_heads");
    if (split < 0) return NotFrom(heads, "split_heads");
    const ValueId projected = Operand(split, kHeadsX);
    keys.linear = Producer(projected, "linear");
    if (keys.linear < 0) return NotFrom(projected, "linear");
    const ValueId bias = Operand(keys.linear, kLinearBias);
    if (bias == kNoValue) return StrCat(Ref(projected), " has no bias");
    if (graph_.value(bias).type.dtype != DType::kF32) {
      return StrCat(Ref(bias), " is ", Name(graph_.value(bias).type.dtype), ", expected f32");
    }
    if (graph_.value(bias).kind != ValueKind::kWeight) {
      return StrCat(Ref(bias), " is no weight");
    }
    for (const ValueId id : {projected, heads, key}) {
      if (uses_.count[id] != 1) return StrCat(Ref(id), " has ", uses_.count[id], " users");
    }
    return "";
  }

  // Whether Find came to a linear, and it has a bias.
  bool HasBias(const Keys& keys) const {
    return keys.linear >= 0 && Operand(keys.linear, kLinearBias) != kNoValue;
  }

  std::string Ref(ValueId id) const { return RefText(graph_.value(id)); }

 private:
  ValueId Operand(int node, int operand) const { return graph_.nodes[node].operands[operand]; }

  int Producer(ValueId id, std::string_view op) const {
    const int node = uses_.producer[id];
    return node >= 0 && graph_.nodes[node].op->name == op ? node : -1;
  }

  std::string NodeText(int node) const {
    return StrCat(graph_.nodes[node].op->name, " ", Ref(graph_.nodes[node].results[0]));
  }

  std::string NotFrom(ValueId id, std::string_view op) const {
    const int node = uses_.producer[id];
    return StrCat(Ref(id), " comes from ",
                  node < 0 ? std::string("outside") : std::string(graph_.nodes[node].op->name),
                  ", expected ", op);
  }

  // attn_scores turns the bias of key j by j, so j must be what the keys were turned by: the
  // positions that the mask compares with j.
  std::string PositionsDiffer(const Keys& keys) const {
    const ValueId positions = Operand(keys.rope, kRopePositions);
    const ValueId scores = graph_.nodes[keys.scores].results[0];
    bool masked = false;
    for (const int reader : readers_[scores]) {
      if (graph_.nodes[reader].op->name != "masked_softmax" ||
          Operand(reader, kSoftmaxScores) != scores) {
        continue;
      }
      const ValueId compared = Operand(reader, kSoftmaxPositions);
      if (compared != positions) {
        return StrCat("keys are turned by ", Ref(positions), ", and masked by ", Ref(compared));
      }
      masked = true;
    }
    return masked ? "" : StrCat("no masked_softmax reads ", Ref(scores));
  }

  const Graph& graph_;
  Uses uses_;
  std::vector<std::vector<int>> readers_;  // by value
};

// Which caches the bias is taken out of.
enum class Caches { kCoarse, kCoarseOr16Bits, kAll };

// The type of the cells that `scores` reads.
DType CellsOf(const Graph& graph, const Node& scores) {
  return graph.value(scores.operands[kScoresKeys]).type.dtype;
}

// Kernels for GPUs add to four numbers and their partners at once (codegen/kernels/key_bias.cuh).
// Of blocks the bias must be apart; numbers can do with it, so they keep it where it does not fit.
std::string DoesNotFit(const Graph& graph, const Keys& keys) {
  constexpr int64_t kDimsAtOnce = 8, kNumbersAtOnce = 4;
  const int64_t dims = std::get<int64_t>(graph.nodes[keys.rope].attrs.find("dims")->second);
  if (dims % kDimsAtOnce != 0) {
    return StrCat(dims, " dims are turned; GPUs add the bias of multiples of ", kDimsAtOnce);
  }
  const Dim& head = graph.value(graph.nodes[keys.rope].results[0]).type.shape.back();
  if (head.is_symbol() || head.value % kNumbersAtOnce != 0) {
    return StrCat("keys of ", ToString(head), "; GPUs add the bias to multiples of ",
                  kNumbersAtOnce);
  }
  return "";
}

// Calls fn(keys, why) for every attn_scores without a bias that reads such caches; `why` there is
// nothing to take out, or empty. Of caches of numbers only for keys that have a bias: others are
// not worth a word.
template <typename Fn>
void ForEachKeys(const Graph& graph, Caches caches, const Fn& fn) {
  const OpDef* const attn_scores = FindOp("attn_scores");
  const Finder finder(graph);
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const Node& node = graph.nodes[n];
    if (node.op != attn_scores || node.operands[kScoresBias] != kNoValue) continue;
    const DType cells = CellsOf(graph, node);
    const bool of_16_bits = cells == DType::kF16 || cells == DType::kBF16;
    if (!IsCoarse(cells) && caches == Caches::kCoarse) continue;
    if (!IsCoarse(cells) && !of_16_bits && caches == Caches::kCoarseOr16Bits) continue;
    Keys keys;
    keys.scores = static_cast<int>(n);
    std::string why = finder.Find(keys);
    if (Info(cells).block_elements == 1 && caches == Caches::kCoarseOr16Bits) {
      if (!finder.HasBias(keys)) continue;
      if (why.empty()) why = DoesNotFit(graph, keys);
    }
    fn(keys, std::move(why));
  }
}

bool TakeOut(Graph& graph, Caches caches, Ledger& ledger) {
  std::vector<Keys> found;  // no two share a node: values in between have one user
  ForEachKeys(graph, caches, [&](const Keys& keys, std::string why) {
    const std::string name(NodeName(graph, graph.nodes[keys.scores]));
    if (!why.empty()) {
      ledger.Rejected(name, std::move(why));
      return;
    }
    if (!ledger.Allows(name)) return;
    const Node& linear = graph.nodes[keys.linear];
    const TensorType& cells = graph.value(graph.nodes[keys.append].results[0]).type;
    ledger.Matched(name, StrCat("adds ", RefText(graph.value(linear.operands[kLinearBias])),
                                ", which keys in ", Name(cells.dtype), " are without"));
    found.push_back(keys);
  });
  for (const Keys& keys : found) {
    Node& scores = graph.nodes[keys.scores];
    scores.operands[kScoresBias] =
        std::exchange(graph.nodes[keys.linear].operands[kLinearBias], kNoValue);
    for (const auto& [attr, value] : graph.nodes[keys.rope].attrs) scores.attrs[attr] = value;
  }
  return !found.empty();
}

}  // namespace

absl::StatusOr<bool> KeyBiasApart(Graph& graph, Ledger& ledger) {
  return TakeOut(graph, Caches::kCoarse, ledger);
}

absl::StatusOr<bool> KeyBiasApartForGpu(Graph& graph, Ledger& ledger) {
  return TakeOut(graph, Caches::kCoarseOr16Bits, ledger);
}

absl::StatusOr<bool> KeyBiasApartOfAll(Graph& graph, Ledger& ledger) {
  return TakeOut(graph, Caches::kAll, ledger);
}

}  // namespace renga
