// Multipliers of scores, logits and branches that would turn their sign or make nothing of them.
#include <cmath>

#include "ir/base/status.h"
#include "tools/lint/check.h"
#include "tools/lint/keys.h"

namespace renga {
namespace {

// Zero means "none" in all of them.
constexpr std::string_view kKeys[] = {"attention.scale",         "logit_scale",
                                      "residual_scale",          "embedding_scale",
                                      "expert_weights_scale",    "attn_logit_softcapping",
                                      "final_logit_softcapping", "attention.temperature_scale"};

std::vector<Finding> Run(const LintInput& input) {
  std::vector<Finding> findings;
  for (const std::string_view key : kKeys) {
    const auto value = ModelNumber(input, key);
    if (!value || (std::isfinite(*value) && *value >= 0)) continue;
    findings.push_back(
        AboutKey(ModelKey(input, key), Sureness::kLikely,
                 StrCat("is ", NumberText(*value), ", expected a positive number, or 0 for none"),
                 "what it multiplies turns its sign, or becomes NaN",
                 "compare with the multipliers of the original's configuration"));
  }
  return findings;
}

}  // namespace

const Check kMultipliers = {"multipliers", "multipliers that are negative or no number", Run};

}  // namespace renga
