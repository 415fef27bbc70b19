// Tensors of nothing but zeros.
#include <map>

#include "ir/base/status.h"
#include "tools/compare/tensor_role.h"
#include "tools/lint/check.h"

namespace renga {
namespace {

constexpr std::string_view kAdvice =
    "compare with the same tensor of the original: a converter may have filled in zeros for what "
    "it did not find";

std::vector<Finding> Run(const LintInput& input) {
  // Of biases by role: how many there are, and how many of them are zero.
  std::map<std::string, std::pair<int64_t, int64_t>> biases;
  for (size_t i = 0; i < input.weights.size(); ++i) {
    if (!IsBias(input.file.tensors()[i])) continue;
    auto& [all, zero] = biases[RoleOfTensor(input.file.tensors()[i].name).role];
    ++all;
    zero += input.weights[i].all_zero() ? 1 : 0;
  }
  std::vector<Finding> findings;
  for (size_t i = 0; i < input.weights.size(); ++i) {
    const WeightFacts& facts = input.weights[i];
    if (!facts.all_zero()) continue;
    const GgufTensor& tensor = input.file.tensors()[i];
    const std::string what = StrCat("all ", facts.elements, " values are zero");
    if (!IsBias(tensor)) {
      findings.push_back(AboutTensor(tensor, Sureness::kCertain, what,
                                     "the layer passes nothing on through this weight", kAdvice));
      continue;
    }
    const auto& [all, zero] = biases[RoleOfTensor(tensor.name).role];
    if (all == zero) {
      findings.push_back(
          AboutTensor(tensor, Sureness::kMaybe, what,
                      "every bias of this kind is zero: right for models that were converted to an "
                      "architecture with biases, else they were lost",
                      kAdvice));
    } else {
      findings.push_back(AboutTensor(tensor, Sureness::kLikely, what,
                                     "the same bias of other layers is not zero, so this one was "
                                     "probably lost",
                                     kAdvice));
    }
  }
  return findings;
}

}  // namespace

const Check kZeroWeights = {"zero-weights", "tensors of nothing but zeros", Run};

}  // namespace renga
