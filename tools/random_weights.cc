#include "tools/random_weights.h"

#include <cmath>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "ir/base/digest.h"
#include "ir/base/status.h"

namespace renga {
namespace {

constexpr int64_t kMaxBytes = int64_t{4} << 30;

// The generator gives the same numbers on every machine; the library's distributions do not, so
// the normal one is Box and Muller's (1958), of which the second of each pair is dropped.
class Normal {
 public:
  explicit Normal(uint64_t seed) : bits_(seed) {}
  double Next() {
    const double radius = std::sqrt(-2 * std::log(Uniform()));
    return radius * std::cos(6.283185307179586 * Uniform());
  }

 private:
  double Uniform() { return (static_cast<double>(bits_() >> 11) + 0.5) * 0x1p-53; }  // (0, 1)

  std::mt19937_64 bits_;
};

struct Recipe {
  int64_t elements = 1;
  double mean = 0;
  double deviation = 1;
  std::vector<float> numbers;  // once asked for
};

// Which weights stand as an operator's bias.
std::vector<bool> Biases(const Graph& graph) {
  std::vector<bool> biases(graph.values.size());
  for (const Node& node : graph.nodes) {
    for (size_t i = 0; i < node.operands.size(); ++i) {
      if (node.operands[i] != kNoValue && node.op->operands[i].name == "bias") {
        biases[node.operands[i]] = true;
      }
    }
  }
  return biases;
}

}  // namespace

Graph WithF32Weights(const Graph& graph) {
  Graph copy = graph;
  RemovePacking(copy);  // layouts are of the file's types
  for (const ValueId id : copy.weights) copy.values[id].type.dtype = DType::kF32;
  return copy;
}

absl::StatusOr<WeightBytes> RandomWeights(const Graph& graph, uint64_t seed) {
  auto recipes = std::make_shared<absl::flat_hash_map<std::string, Recipe>>();
  const std::vector<bool> biases = Biases(graph);
  int64_t bytes = 0;
  for (const ValueId id : graph.weights) {
    const Value& value = graph.value(id);
    if (value.packed()) continue;
    Recipe recipe;
    for (const Dim& dim : value.type.shape) {
      if (dim.is_symbol() || dim.value > kMaxBytes / recipe.elements) {
        return absl::InvalidArgumentError(StrCat(
            RefText(value), ": expected constant sizes of at most ", kMaxBytes >> 30,
            " GiB for random weights, got ", ToString(value.type), "; name a model with -m"));
      }
      recipe.elements *= dim.value;
    }
    bytes += recipe.elements * static_cast<int64_t>(sizeof(float));
    if (bytes > kMaxBytes) {
      return absl::InvalidArgumentError(StrCat("the graph's weights take more than ",
                                               kMaxBytes >> 30,
                                               " GiB as F32; name a model with -m"));
    }
    if (value.type.rank() > 1) {
      const double width = static_cast<double>(value.type.shape.back().value);
      recipe.deviation = 1 / std::sqrt(width);
    } else {
      recipe.mean = biases[id] ? 0 : 1;
      recipe.deviation = 0.1;
    }
    recipes->emplace(value.name, std::move(recipe));
  }
  return WeightBytes(
      [recipes, seed](const std::string& name) -> absl::StatusOr<absl::Span<const uint8_t>> {
        const auto found = recipes->find(name);
        if (found == recipes->end()) return absl::NotFoundError(StrCat("no weight @", name));
        Recipe& recipe = found->second;
        if (recipe.numbers.empty()) {
          Normal normal(DigestOf(std::string_view(name)).low + seed);
          recipe.numbers.resize(recipe.elements);
          for (float& x : recipe.numbers) {
            x = static_cast<float>(recipe.mean + recipe.deviation * normal.Next());
          }
        }
        return absl::Span<const uint8_t>(reinterpret_cast<const uint8_t*>(recipe.numbers.data()),
                                         recipe.numbers.size() * sizeof(float));
      });
}

}  // namespace renga
