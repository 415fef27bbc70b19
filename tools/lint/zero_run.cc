// A large part of a tensor that is zeros in one piece: what a file looks like that was cut off or
// had a hole, and whose length is right all the same.
#include "ir/base/status.h"
#include "tools/lint/check.h"
#include "tools/lint/place_text.h"

namespace renga {
namespace {

// Shorter runs occur: rows of tokens that were never trained, experts that were switched off.
constexpr int64_t kShortest = 4096;
constexpr int64_t kShareOfTensor = 8;  // one in so many elements

std::vector<Finding> Run(const LintInput& input) {
  std::vector<Finding> findings;
  for (size_t i = 0; i < input.weights.size(); ++i) {
    const WeightFacts& facts = input.weights[i];
    if (facts.all_zero() || facts.zero_run < kShortest) continue;
    if (facts.zero_run < facts.elements / kShareOfTensor) continue;
    const GgufTensor& tensor = input.file.tensors()[i];
    findings.push_back(AboutTensor(
        tensor, Sureness::kLikely,
        StrCat(facts.zero_run, " of ", facts.elements, " values, from ",
               PlaceText(tensor, facts.zero_run_at), " on, are zero without a break"),
        "this part of the weight passes nothing on; an interrupted download or copy leaves such "
        "holes",
        "compare the file's checksum with its publisher's, or get it again"));
  }
  return findings;
}

}  // namespace

const Check kZeroRun = {"zero-run", "a large part of a tensor that is zeros in one piece", Run};

}  // namespace renga
