// Quantised blocks whose scale is zero though their quants say something: the block decodes to
// zeros (or to its minimum), and what was stored is lost.
#include "ir/base/status.h"
#include "tools/lint/check.h"
#include "tools/lint/place_text.h"

namespace renga {
namespace {

// Values so small that their scale is no f16 get a scale of zero from every quantiser. That happens
// to few blocks of a model; where it is more than one in so many, the scales were lost.
constexpr int64_t kFew = 16;

std::vector<Finding> Run(const LintInput& input) {
  std::vector<Finding> findings;
  for (size_t i = 0; i < input.weights.size(); ++i) {
    const WeightFacts& facts = input.weights[i];
    if (facts.lost_blocks == 0) continue;
    const GgufTensor& tensor = input.file.tensors()[i];
    const bool few = facts.lost_blocks < facts.blocks / kFew;
    findings.push_back(AboutTensor(
        tensor, few ? Sureness::kMaybe : Sureness::kLikely,
        StrCat(facts.lost_blocks, " of ", facts.blocks,
               " blocks have a scale of zero and quants that differ, the first at ",
               PlaceText(tensor, facts.first_lost_block * Info(tensor.type).block_elements)),
        few ? "the values of these blocks were too small for the scale's type, or their scales "
              "were lost"
            : "the scales were lost: these blocks decode to a constant whatever they held",
        "quantise the original again; if that gives the same, its values are that small"));
  }
  return findings;
}

}  // namespace

const Check kZeroScales = {"zero-scales", "quantised blocks that lost their scale", Run};

}  // namespace renga
