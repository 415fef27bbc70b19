// An epsilon of the norms that no known model has.
#include "ir/base/status.h"
#include "tools/lint/check.h"
#include "tools/lint/keys.h"

namespace renga {
namespace {

// Published configurations say 1e-6 or 1e-5, a few 1e-8; an f32 is a little off its decimal.
constexpr double kSmallest = 0.99e-8, kLargest = 1.01e-3;
constexpr double kFar = 10;  // beyond by this factor nothing plausible is left

std::vector<Finding> Run(const LintInput& input) {
  std::vector<Finding> findings;
  for (const std::string_view key :
       {"attention.layer_norm_rms_epsilon", "attention.layer_norm_epsilon"}) {
    const auto eps = ModelNumber(input, key);
    if (!eps || (*eps >= kSmallest && *eps <= kLargest)) continue;
    const bool far = *eps < kSmallest / kFar || *eps > kLargest * kFar;
    findings.push_back(AboutKey(
        ModelKey(input, key), far ? Sureness::kLikely : Sureness::kMaybe,
        StrCat("is ", NumberText(*eps), "; models have 1e-06 or 1e-05"),
        *eps > kLargest ? "every norm of the model comes out too small, the more the smaller its "
                          "input"
                        : "a norm of small values loses what keeps it from dividing by zero",
        "compare with rms_norm_eps or layer_norm_eps of the original's configuration"));
  }
  return findings;
}

}  // namespace

const Check kNormEpsilon = {"norm-epsilon", "an epsilon of the norms that no known model has", Run};

}  // namespace renga
