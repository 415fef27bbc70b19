// NaN and infinite weights.
#include "ir/base/status.h"
#include "tools/lint/check.h"
#include "tools/lint/place_text.h"

namespace renga {
namespace {

std::string CountText(const WeightFacts& facts) {
  if (facts.infinities == 0) return StrCat(facts.nans, " NaN");
  if (facts.nans == 0) return StrCat(facts.infinities, " infinite");
  return StrCat(facts.nans, " NaN and ", facts.infinities, " infinite");
}

std::vector<Finding> Run(const LintInput& input) {
  std::vector<Finding> findings;
  for (size_t i = 0; i < input.weights.size(); ++i) {
    const WeightFacts& facts = input.weights[i];
    if (facts.nans + facts.infinities == 0) continue;
    const GgufTensor& tensor = input.file.tensors()[i];
    std::string what = StrCat(CountText(facts), " of ", facts.elements, " values, the first at ",
                              PlaceText(tensor, facts.first_not_finite));
    if (facts.bad_scales > 0) {
      StrAppend(&what, "; the scales of ", facts.bad_scales, " of ", facts.blocks,
                " blocks are no finite numbers");
    }
    findings.push_back(AboutTensor(
        tensor, Sureness::kCertain, std::move(what),
        "whatever is computed from these values is NaN, and from there on everything",
        "the file is damaged or was converted from damaged weights: get it again, or look at the "
        "same tensor of the original"));
  }
  return findings;
}

}  // namespace

const Check kNanWeights = {"nan-weights", "weights that are NaN or infinite", Run};

}  // namespace renga
