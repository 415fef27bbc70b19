// Tensors whose values are all the same, and not zero.
#include "ir/base/status.h"
#include "tools/lint/check.h"

namespace renga {
namespace {

// Factors of RoPE's frequencies are all 1 where they change nothing.
bool MayBeConstant(const GgufTensor& tensor) {
  return tensor.elements() < 2 || tensor.name.starts_with("rope_");
}

std::vector<Finding> Run(const LintInput& input) {
  std::vector<Finding> findings;
  for (size_t i = 0; i < input.weights.size(); ++i) {
    const WeightFacts& facts = input.weights[i];
    const GgufTensor& tensor = input.file.tensors()[i];
    const bool finite = facts.nans + facts.infinities == 0;  // else another check says so
    if (!facts.constant || !finite || facts.all_zero() || MayBeConstant(tensor)) continue;
    const std::string what = StrCat("all ", facts.elements, " values are ", facts.first);
    if (tensor.rank > 1) {
      findings.push_back(AboutTensor(
          tensor, Sureness::kCertain, what, "a matrix of equal values was not trained",
          "the file is damaged or was converted from something else: look at the same tensor of "
          "the original"));
    } else {
      findings.push_back(AboutTensor(
          tensor, Sureness::kMaybe, what,
          "norms start like this and stay so only where they were never trained",
          "right where the model has no such weight and the converter had to write one; else look "
          "at the original"));
    }
  }
  return findings;
}

}  // namespace

const Check kConstantWeights = {"constant-weights", "tensors whose values are all the same", Run};

}  // namespace renga
