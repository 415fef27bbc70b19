// Tensors with the same bytes under two names.
#include <map>
#include <tuple>
#include <utility>

#include "ir/base/status.h"
#include "tools/compare/tensor_role.h"
#include "tools/lint/check.h"

namespace renga {
namespace {

struct Copy {
  int tensor;    // the later one in the file
  int original;  // the first with these bytes
};

// Whether two equal tensors of this kind say anything. Constants are another check's; factors of
// RoPE are often equal.
bool Counts(const GgufTensor& tensor, const WeightFacts& facts) {
  return !facts.constant && !facts.all_zero() && facts.elements >= 4 &&
         !tensor.name.starts_with("rope_");
}

std::vector<Copy> FindCopies(const LintInput& input) {
  using Key = std::tuple<uint64_t, uint64_t, DType, std::vector<int64_t>>;
  std::map<Key, int> first;
  std::vector<Copy> copies;
  for (size_t i = 0; i < input.weights.size(); ++i) {
    const GgufTensor& tensor = input.file.tensors()[i];
    const WeightFacts& facts = input.weights[i];
    if (!Counts(tensor, facts)) continue;
    const auto [at, added] =
        first.try_emplace(Key(facts.digest.high, facts.digest.low, tensor.type,
                              std::vector<int64_t>(tensor.shape().begin(), tensor.shape().end())),
                          static_cast<int>(i));
    if (!added) copies.push_back({static_cast<int>(i), at->second});
  }
  return copies;
}

// Layers all of whose tensors have the same bytes as those of an earlier layer, with that layer.
std::map<int, int> WholeLayers(const LintInput& input, const std::vector<Copy>& copies) {
  std::map<int, int> sizes;                    // tensors of each layer that count
  std::map<std::pair<int, int>, int> matches;  // layer, earlier layer -> tensors of the same role
  for (size_t i = 0; i < input.weights.size(); ++i) {
    const GgufTensor& tensor = input.file.tensors()[i];
    if (Counts(tensor, input.weights[i])) ++sizes[RoleOfTensor(tensor.name).layer];
  }
  for (const Copy& copy : copies) {
    const TensorRole a = RoleOfTensor(input.file.tensors()[copy.tensor].name);
    const TensorRole b = RoleOfTensor(input.file.tensors()[copy.original].name);
    if (a.layer >= 0 && b.layer >= 0 && a.role == b.role) ++matches[{a.layer, b.layer}];
  }
  std::map<int, int> whole;
  for (const auto& [layers, count] : matches) {
    if (count == sizes[layers.first]) whole[layers.first] = layers.second;
  }
  return whole;
}

std::vector<Finding> Run(const LintInput& input) {
  const std::vector<Copy> copies = FindCopies(input);
  const std::map<int, int> whole = WholeLayers(input, copies);
  std::vector<Finding> findings;
  for (const auto& [layer, original] : whole) {
    Finding finding = AboutKey(
        StrCat("layer ", layer), Sureness::kMaybe,
        StrCat("every tensor has the same bytes as in layer ", original),
        "right for models that were made larger by repeating layers; else a layer was lost",
        "compare the number of layers and this layer's weights with the original");
    finding.layer = layer;
    findings.push_back(std::move(finding));
  }
  for (const Copy& copy : copies) {
    const GgufTensor& tensor = input.file.tensors()[copy.tensor];
    const GgufTensor& original = input.file.tensors()[copy.original];
    const int layer = RoleOfTensor(tensor.name).layer;
    if (layer >= 0 && whole.contains(layer)) continue;
    const std::string what = StrCat("has the same bytes as ", original.name);
    const auto is_vocabulary = [](const GgufTensor& t) {
      return t.name == "output.weight" || t.name == "token_embd.weight";
    };
    if (is_vocabulary(tensor) && is_vocabulary(original)) {
      findings.push_back(AboutTensor(
          tensor, Sureness::kMaybe, what, "input and output share their weight, stored twice",
          "harmless but for the room; a file without output.weight means the same"));
      continue;
    }
    findings.push_back(AboutTensor(
        tensor, Sureness::kLikely, what,
        "trained weights are never equal by chance: one of the two was written in the other's "
        "place",
        "convert the model again, and compare both tensors with the original's"));
  }
  return findings;
}

}  // namespace

const Check kDuplicateTensors = {"duplicate-tensors", "tensors with the same bytes under two names",
                                 Run};

}  // namespace renga
