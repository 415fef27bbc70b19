// Biases that the file has and the graph does not use, and such that are missing.
#include <algorithm>
#include <iterator>

#include "ir/base/status.h"
#include "tools/compare/tensor_role.h"
#include "tools/lint/check.h"

namespace renga {
namespace {

// What published models of an architecture have (their configurations and modelling code).
struct UsualBiases {
  std::string_view architecture;
  absl::Span<const std::string_view> stems;
};

constexpr std::string_view kQkv[] = {"attn_q", "attn_k", "attn_v", "attn_qkv"};
constexpr std::string_view kAll[] = {"attn_q",      "attn_k", "attn_v",  "attn_qkv",
                                     "attn_output", "ffn_up", "ffn_down"};
constexpr std::string_view kWithExperts[] = {"attn_q",        "attn_k",      "attn_v",
                                             "attn_qkv",      "attn_output", "ffn_gate_inp",
                                             "ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"};

constexpr UsualBiases kUsual[] = {
    {"gpt-oss", kWithExperts}, {"gptneox", kAll},    {"qwen2", kQkv},
    {"qwen2moe", kQkv},        {"starcoder2", kAll},
};

bool IsUsual(std::string_view architecture, std::string_view stem) {
  for (const UsualBiases& usual : kUsual) {
    if (usual.architecture != architecture) continue;
    return std::find(usual.stems.begin(), usual.stems.end(), stem) != usual.stems.end();
  }
  return false;
}

std::vector<Finding> RunUnused(const LintInput& input) {
  std::vector<Finding> findings;
  for (const IgnoredTensor& ignored : input.model.ignored) {
    const GgufTensor* tensor = input.file.FindTensor(ignored.name);
    if (tensor == nullptr || !IsBias(*tensor)) continue;
    findings.push_back(AboutTensor(
        *tensor, Sureness::kLikely,
        StrCat("the file has this bias and the graph does not use it (", ignored.reason, ")"),
        "a bias that is left out changes every result of its layer",
        "check the architecture's definition: either the graph lacks an addition, or the file "
        "holds what the model has not"));
  }
  return findings;
}

constexpr std::string_view kMissing = "the sum of this layer's projection lacks its bias";

// Layers of `weight` that `bias` lacks: nothing where it lacks none or all.
void AddPartlyMissing(const LintInput& input, const TensorFamily& weight, const TensorFamily& bias,
                      std::string_view stem, std::vector<Finding>* findings) {
  std::vector<int> lacking;
  std::set_difference(weight.layers.begin(), weight.layers.end(), bias.layers.begin(),
                      bias.layers.end(), std::back_inserter(lacking));
  for (const int layer : lacking) {
    Finding finding = AboutKey(
        StrCat("blk.", layer, ".", stem, ".bias"), Sureness::kLikely,
        StrCat("the file has no such bias, while ", bias.layers.size(), " of ",
               weight.layers.size(), " layers have it"),
        kMissing, "convert the model again; the original has it in every layer or in none");
    finding.layer = layer;
    findings->push_back(std::move(finding));
  }
}

std::vector<Finding> RunMissing(const LintInput& input) {
  std::vector<Finding> findings;
  constexpr std::string_view kTriple[] = {"attn_q", "attn_k", "attn_v"};
  const auto has_bias = [&](std::string_view stem) {
    return FindFamily(input, StrCat(stem, ".bias")) != nullptr;
  };
  const bool some_of_qkv = std::any_of(std::begin(kTriple), std::end(kTriple), has_bias);
  for (const TensorFamily& weight : input.families) {
    constexpr std::string_view kSuffix = ".weight";
    const std::string_view role = weight.role;
    if (!role.ends_with(kSuffix)) continue;
    const std::string_view stem = role.substr(0, role.size() - kSuffix.size());
    if (const TensorFamily* bias = FindFamily(input, StrCat(stem, ".bias")); bias != nullptr) {
      AddPartlyMissing(input, weight, *bias, stem, &findings);
    } else if (IsUsual(input.model.info.architecture, stem)) {
      findings.push_back(
          AboutKey(StrCat("blk.*.", stem, ".bias"), Sureness::kLikely,
                   StrCat("no layer has this bias, which models of ", input.model.info.architecture,
                          " usually have"),
                   kMissing, "convert the model again, and see whether the original has biases"));
    } else if (some_of_qkv &&
               std::find(std::begin(kTriple), std::end(kTriple), stem) != std::end(kTriple)) {
      findings.push_back(
          AboutKey(StrCat("blk.*.", stem, ".bias"), Sureness::kMaybe,
                   "no layer has this bias, though others of attn_q, attn_k and attn_v have one",
                   kMissing, "right for models that are made so; else convert the model again"));
    }
  }
  return findings;
}

}  // namespace

const Check kUnusedBiases = {"unused-biases", "biases in the file that the graph does not use",
                             RunUnused};
const Check kMissingBiases = {"missing-biases",
                              "biases that the model should have and the file lacks", RunMissing};

}  // namespace renga
