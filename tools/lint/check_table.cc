#include <map>
#include <utility>

#include "ir/base/status.h"
#include "tools/compare/tensor_role.h"
#include "tools/lint/check.h"

namespace renga {

absl::Span<const Check* const> AllChecks() {
  static constexpr const Check* kChecks[] = {
      &kNanWeights,      &kZeroWeights,   &kConstantWeights, &kZeroRun,          &kZeroScales,
      &kUnusedBiases,    &kMissingBiases, &kLayerShapes,     &kDuplicateTensors, &kQuantisationMix,
      &kNormEpsilon,     &kRopeSettings,  &kMultipliers,     &kContextLength,    &kOddSizes,
      &kForeignKeys,     &kPreTokenizer,  &kChatTemplate,    &kPaddedVocab,      &kSpecialTokens,
      &kDuplicateTokens,
  };
  return kChecks;
}

const Check* FindCheck(std::string_view name) {
  for (const Check* check : AllChecks()) {
    if (check->name == name) return check;
  }
  return nullptr;
}

std::vector<TensorFamily> FamiliesOf(const GgufFile& file) {
  std::vector<TensorFamily> families;
  std::map<std::string, size_t> places;
  std::vector<std::vector<std::pair<int, int>>> members;  // layer, tensor
  for (size_t i = 0; i < file.tensors().size(); ++i) {
    TensorRole role = RoleOfTensor(file.tensors()[i].name);
    if (role.layer < 0) continue;
    const auto [at, added] = places.try_emplace(role.role, families.size());
    if (added) {
      families.push_back({std::move(role.role), {}, {}});
      members.emplace_back();
    }
    members[at->second].emplace_back(role.layer, static_cast<int>(i));
  }
  for (size_t f = 0; f < families.size(); ++f) {
    std::sort(members[f].begin(), members[f].end());
    for (const auto& [layer, tensor] : members[f]) {
      families[f].layers.push_back(layer);
      families[f].tensors.push_back(tensor);
    }
  }
  return families;
}

const TensorFamily* FindFamily(const LintInput& input, std::string_view role) {
  for (const TensorFamily& family : input.families) {
    if (family.role == role) return &family;
  }
  return nullptr;
}

Finding AboutTensor(const GgufTensor& tensor, Sureness sureness, std::string what,
                    std::string_view meaning, std::string_view advice) {
  Finding finding = AboutKey(tensor.name, sureness, std::move(what), meaning, advice);
  finding.layer = RoleOfTensor(tensor.name).layer;
  return finding;
}

Finding AboutKey(std::string_view key, Sureness sureness, std::string what,
                 std::string_view meaning, std::string_view advice) {
  Finding finding;
  finding.sureness = sureness;
  finding.where = std::string(key);
  finding.what = std::move(what);
  finding.meaning = std::string(meaning);
  finding.advice = std::string(advice);
  return finding;
}

std::string TypeAndShape(const GgufTensor& tensor) {
  return StrCat(Name(tensor.type), "[", StrJoin(tensor.shape(), ","), "]");
}

bool IsBias(const GgufTensor& tensor) { return tensor.name.ends_with(".bias"); }

}  // namespace renga
