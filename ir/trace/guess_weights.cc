// Guesses about a node's weights.
#include <algorithm>
#include <cstring>
#include <functional>
#include <set>
#include <utility>

#include "ir/base/status.h"
#include "ir/reference/dequant.h"
#include "ir/trace/guess.h"

namespace renga {
namespace {

constexpr int64_t kMostElements = int64_t{1} << 25;  // of a weight that is read as numbers

std::string FileName(const Graph& graph, ValueId id) {
  const Value& value = graph.value(id);
  return value.packed() ? graph.value(value.source).name : value.name;
}

// The node's weights as the file has them, without repeats.
std::vector<ValueId> WeightsOf(const GuessNode& node) {
  std::vector<ValueId> weights;
  for (const ValueId operand : node.node().operands) {
    if (operand == kNoValue) continue;
    const Value& value = node.graph().value(operand);
    if (value.kind != ValueKind::kWeight) continue;
    const ValueId id = value.packed() ? value.source : operand;
    if (std::find(weights.begin(), weights.end(), id) == weights.end()) weights.push_back(id);
  }
  return weights;
}

// `change` of a copy of the weight's bytes.
using ByteChange = std::function<bool(std::vector<uint8_t>*)>;
Guess OfBytes(const GuessNode& node, std::vector<std::string> names, std::string key,
              std::string kind, std::string text, ByteChange change) {
  return {.key = std::move(key),
          .kind = std::move(kind),
          .text = std::move(text),
          .apply = [&inputs = node.inputs, names = std::move(names),
                    change = std::move(change)](Alternative* other) {
            for (const std::string& name : names) {
              const auto bytes = inputs.weights(name);
              if (!bytes.ok()) return false;
              std::vector<uint8_t>& copy = other->weights[name];
              copy.assign(bytes->begin(), bytes->end());
              if (!change(&copy)) return false;
            }
            return true;
          }};
}

// `change` of a matrix as f32, [rows, columns].
using MatrixChange = std::function<void(const std::vector<float>& from, std::vector<float>* to)>;
Guess OfNumbers(const GuessNode& node, ValueId weight, std::string key, std::string kind,
                std::string text, MatrixChange change) {
  return {.key = std::move(key),
          .kind = std::move(kind),
          .text = std::move(text),
          .apply = [&inputs = node.inputs, weight, change = std::move(change)](Alternative* other) {
            Value& value = other->graph.values[weight];
            int64_t elements = 1;
            for (const Dim& dim : value.type.shape) elements *= dim.value;
            const auto bytes = inputs.weights(value.name);
            if (!bytes.ok() || elements > kMostElements) return false;
            std::vector<float> from(static_cast<size_t>(elements));
            if (!DequantRow(value.type.dtype, *bytes, absl::MakeSpan(from)).ok()) return false;
            std::vector<float> to(from.size());
            change(from, &to);
            std::vector<uint8_t>& copy = other->weights[value.name];
            copy.resize(to.size() * sizeof(float));
            std::memcpy(copy.data(), to.data(), copy.size());
            value.type.dtype = DType::kF32;
            for (ValueId& operand : other->at().operands) {
              if (operand != kNoValue && other->graph.value(operand).source == weight) {
                operand = weight;
              }
            }
            return true;
          }};
}

void AddZeros(const GuessNode& node, const std::vector<ValueId>& weights, Guesses* guesses) {
  // A bias is forgotten more often than a matrix.
  std::vector<std::string> biases, others;
  for (const ValueId id : weights) {
    const std::string name = FileName(node.graph(), id);
    (name.ends_with(".bias") ? biases : others).push_back(name);
  }
  std::vector<std::vector<std::string>> sets;
  for (const std::string& name : biases) sets.push_back({name});
  for (const std::string& name : others) sets.push_back({name});
  if (biases.size() > 1) sets.push_back(biases);
  for (size_t i = 0; i < sets.size(); ++i) {
    std::string text = StrCat("as if @", StrJoin(sets[i], " and @"),
                              sets[i].size() == 1 ? " were zeros" : " were all zeros");
    guesses->push_back(OfBytes(node, sets[i], StrCat("zeros ", i), "weight", std::move(text),
                               [](std::vector<uint8_t>* bytes) {
                                 std::fill(bytes->begin(), bytes->end(), uint8_t{0});
                                 return true;
                               }));
    guesses->back().joins = i < biases.size();
  }
}

// The same weight of another layer, or another of the node's of the same type.
void AddOthers(const GuessNode& node, const std::vector<ValueId>& weights, Guesses* guesses) {
  const Graph& graph = node.graph();
  const auto replace = [&](ValueId weight, const std::string& by, std::string key) {
    const ValueId other = graph.FindValue(by, true);
    if (other == kNoValue || other == weight ||
        !(graph.value(other).type == graph.value(weight).type)) {
      return;
    }
    const auto bytes = node.inputs.weights(by);
    if (!bytes.ok()) return;
    guesses->push_back(OfBytes(node, {graph.value(weight).name}, std::move(key), "weight",
                               StrCat("as if @", graph.value(weight).name, " were @", by),
                               [bytes = *bytes](std::vector<uint8_t>* to) {
                                 to->assign(bytes.begin(), bytes.end());
                                 return true;
                               }));
  };
  for (size_t i = 0; i < weights.size(); ++i) {
    const std::string& name = graph.value(weights[i]).name;
    for (size_t j = 0; j < weights.size(); ++j) {
      if (i != j)
        replace(weights[i], graph.value(weights[j]).name, StrCat("weight ", i, " as ", j));
    }
    const size_t dot = name.find('.', 4);
    if (!name.starts_with("blk.") || dot == std::string::npos) continue;
    const int layer = std::atoi(name.c_str() + 4);
    std::set<int> layers = {0, layer - 1, layer + 1};
    layers.erase(layer);
    for (const int other : layers) {
      replace(
          weights[i], StrCat("blk.", other, name.substr(dot)),
          other == 0 ? StrCat("weight ", i, " of 0") : StrCat("weight ", i, " of ", other - layer));
    }
  }
}

// Matrices that are read in another order than they lie in, or in part; of experts each alike.
void AddOrders(const GuessNode& node, ValueId weight, size_t number, Guesses* guesses) {
  const Value& value = node.graph().value(weight);
  const int rank = value.type.rank();
  if (rank < 2) return;
  const int64_t rows = value.type.shape[rank - 2].value;
  const int64_t columns = value.type.shape[rank - 1].value;
  if (rows < 2 || columns < 2) return;
  // Each element of a matrix from where `place` says that it lies in it; beyond it lie zeros.
  const auto reread = [rows, columns](const std::function<int64_t(int64_t r, int64_t c)>& place) {
    return [rows, columns, place](const std::vector<float>& from, std::vector<float>* to) {
      const int64_t size = rows * columns;
      for (int64_t at = 0; at + size <= static_cast<int64_t>(from.size()); at += size) {
        for (int64_t r = 0; r < rows; ++r) {
          for (int64_t c = 0; c < columns; ++c) {
            const int64_t there = place(r, c);
            (*to)[at + r * columns + c] = there < size ? from[at + there] : 0;
          }
        }
      }
    };
  };
  const size_t before = guesses->size();
  guesses->push_back(OfNumbers(
      node, weight, StrCat("transposed ", number), "transposed",
      StrCat("reads @", value.name, " transposed, as if it lay [", columns, ",", rows, "]"),
      reread([rows](int64_t r, int64_t c) { return c * rows + r; })));
  // Other sizes that the model has, and one off: what a row's length is taken for.
  std::set<int64_t> widths = {columns - 1, columns + 1, rows};
  std::set<int64_t> shorter = {columns / 2};
  for (const ValueId id : node.graph().weights) {
    for (const Dim& dim : node.graph().value(id).type.shape) {
      if (dim.value < columns) shorter.insert(dim.value);
      widths.insert(dim.value);
    }
  }
  widths.erase(columns);
  for (const int64_t width : shorter) {
    if (width < 1 || width >= columns) continue;
    guesses->push_back(OfNumbers(
        node, weight, StrCat("columns ", number, " ", width), "truncated",
        StrCat("sums only the first ", width, " of ", columns, " columns of @", value.name),
        reread([rows, columns, width](int64_t r, int64_t c) {
          return c < width ? r * columns + c : rows * columns;
        })));
  }
  for (const int64_t width : widths) {
    if (width < 1) continue;
    guesses->push_back(
        OfNumbers(node, weight, StrCat("leading ", number, " ", width), "stride",
                  StrCat("reads @", value.name, " with rows ", width, " apart, they are ", columns),
                  reread([width](int64_t r, int64_t c) { return r * width + c; })));
  }
  // A bias that is not loaded goes with any of them.
  for (size_t i = before; i < guesses->size(); ++i) (*guesses)[i].leads = true;
}

// Blocks whose parts are read wrongly. Offsets are those of the formats (ir/reference/dequant*.cc).
struct BlockRule {
  DType type;
  int64_t minimum;  // offset of the f16 that scales the minima; -1: none
  int64_t scales;   // offset of 12 bytes of 6-bit scales and minima; -1: none
};
constexpr BlockRule kBlockRules[] = {
    {DType::kQ4_1, 2, -1}, {DType::kQ5_1, 2, -1}, {DType::kQ2_K, 82, -1},
    {DType::kQ4_K, 2, 4},  {DType::kQ5_K, 2, 4},
};

void AddBlocks(const GuessNode& node, ValueId weight, size_t number, Guesses* guesses) {
  const Value& value = node.graph().value(weight);
  const auto rule =
      std::find_if(std::begin(kBlockRules), std::end(kBlockRules),
                   [&](const BlockRule& each) { return each.type == value.type.dtype; });
  if (rule == std::end(kBlockRules)) return;
  const int64_t block = Info(rule->type).block_bytes;
  const std::string of = StrCat("@", value.name, "'s blocks of ", Name(rule->type));
  if (rule->minimum >= 0) {
    guesses->push_back(OfBytes(node, {value.name}, StrCat("minima ", number), "dequantisation",
                               StrCat("as if the minima of ", of, " had the other sign"),
                               [block, at = rule->minimum](std::vector<uint8_t>* bytes) {
                                 for (size_t i = static_cast<size_t>(at) + 1; i < bytes->size();
                                      i += static_cast<size_t>(block)) {
                                   (*bytes)[i] ^= 0x80;
                                 }
                                 return true;
                               }));
  }
  if (rule->scales < 0) return;
  guesses->push_back(
      OfBytes(node, {value.name}, StrCat("high bits ", number), "dequantisation",
              StrCat("as if the upper two bits of the scales and minima of groups 4..7 of ", of,
                     " were lost"),
              [block, at = rule->scales](std::vector<uint8_t>* bytes) {
                for (size_t i = 0; i < bytes->size(); i += static_cast<size_t>(block)) {
                  for (size_t j = 0; j < 8; ++j) (*bytes)[i + static_cast<size_t>(at) + j] &= 0x3f;
                }
                return true;
              }));
}

// A norm that does not multiply.
void AddOnes(const GuessNode& node, ValueId weight, size_t number, Guesses* guesses) {
  const Value& value = node.graph().value(weight);
  if (value.type.rank() != 1 || value.type.dtype != DType::kF32) return;
  guesses->push_back(
      OfBytes(node, {value.name}, StrCat("ones ", number), "weight",
              StrCat("as if @", value.name, " were all ones"), [](std::vector<uint8_t>* bytes) {
                const float one = 1;
                for (size_t i = 0; i + sizeof(one) <= bytes->size(); i += sizeof(one)) {
                  std::memcpy(bytes->data() + i, &one, sizeof(one));
                }
                return true;
              }));
}

}  // namespace

void AddWeightGuesses(const GuessNode& node, Guesses* guesses) {
  const std::vector<ValueId> weights = WeightsOf(node);
  AddZeros(node, weights, guesses);
  for (size_t i = 0; i < weights.size(); ++i) AddBlocks(node, weights[i], i, guesses);
  AddOthers(node, weights, guesses);
  for (size_t i = 0; i < weights.size(); ++i) AddOnes(node, weights[i], i, guesses);
  for (size_t i = 0; i < weights.size(); ++i) AddOrders(node, weights[i], i, guesses);
}

}  // namespace renga
