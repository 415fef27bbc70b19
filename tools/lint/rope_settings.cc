// RoPE's base, scaling and factors where they do not fit what models have, or each other.
#include <cmath>

#include "absl/strings/str_format.h"
#include "ir/base/status.h"
#include "tools/lint/check.h"
#include "tools/lint/keys.h"

namespace renga {
namespace {

constexpr std::string_view kAdvice =
    "compare with rope_theta and rope_scaling of the original's configuration";
constexpr double kSmallestBase = 1000;  // all published models have 10,000 or more

void CheckBase(const LintInput& input, double base, std::vector<Finding>* findings) {
  if (base >= kSmallestBase) return;
  findings->push_back(AboutKey(
      ModelKey(input, "rope.freq_base"), Sureness::kLikely,
      StrCat("is ", NumberText(base), "; models have 10000 or more"),
      "positions beyond the first few hundred cannot be told apart: long texts lose their order",
      kAdvice));
}

// The slowest pair of values turns once in so many tokens; positions further apart look alike to
// all pairs.
double SlowestTurn(double base, int64_t dims) {
  return 2 * M_PI * std::pow(base, static_cast<double>(dims - 2) / static_cast<double>(dims));
}

void CheckReach(const LintInput& input, double base, std::vector<Finding>* findings) {
  const std::string type(input.file.GetStringOr(ModelKey(input, "rope.scaling.type"), "")
                             .value_or(std::string_view()));
  const double factor = ModelNumber(input, "rope.scaling.factor").value_or(1);
  if (factor > 1 || type == "yarn" || type == "longrope") return;
  if (input.file.FindTensor("rope_freqs.weight") != nullptr) return;
  const int64_t dims = ModelInt(input, "rope.dimension_count").value_or(input.model.info.head_dim);
  const double context = static_cast<double>(input.model.info.context_length);
  if (dims < 4 || context <= SlowestTurn(base, dims)) return;
  findings->push_back(AboutKey(
      ModelKey(input, "rope.freq_base"), Sureness::kMaybe,
      absl::StrFormat("with %s and %d dimensions the slowest pair turns once in %.0f tokens, but "
                      "context_length is %.0f",
                      NumberText(base), dims, SlowestTurn(base, dims), context),
      "positions that far apart look alike: the base, a scaling, or the context is not what the "
      "model was trained with",
      kAdvice));
}

void CheckScaling(const LintInput& input, std::vector<Finding>* findings) {
  const auto factor = ModelNumber(input, "rope.scaling.factor");
  const std::string type(input.file.GetStringOr(ModelKey(input, "rope.scaling.type"), "")
                             .value_or(std::string_view()));
  if (factor && *factor > 0 && *factor < 1) {
    findings->push_back(AboutKey(
        ModelKey(input, "rope.scaling.factor"), Sureness::kLikely,
        StrCat("is ", NumberText(*factor),
               "; a factor says how many times longer the context gets"),
        "positions are pulled apart instead of together: probably the reciprocal was stored",
        kAdvice));
  }
  if (factor && *factor > 1 && type == "none") {
    findings->push_back(AboutKey(ModelKey(input, "rope.scaling.type"), Sureness::kMaybe,
                                 StrCat("is none, with a scaling.factor of ", NumberText(*factor)),
                                 "the factor has no effect", kAdvice));
  }
  if ((type == "yarn" || type == "longrope") &&
      !ModelNumber(input, "rope.scaling.original_context_length")) {
    findings->push_back(AboutKey(
        ModelKey(input, "rope.scaling.original_context_length"), Sureness::kLikely,
        StrCat("is missing, and scaling.type is ", type),
        "context_length stands in for it, which usually is the scaled one: other frequencies are "
        "scaled than in training",
        kAdvice));
  }
}

void CheckMagnitude(const LintInput& input, std::vector<Finding>* findings) {
  const auto magnitude = ModelNumber(input, "rope.scaling.attn_factor");
  if (!magnitude || (*magnitude >= 0.5 && *magnitude <= 2)) return;
  findings->push_back(AboutKey(ModelKey(input, "rope.scaling.attn_factor"), Sureness::kMaybe,
                               StrCat("is ", NumberText(*magnitude), "; models have 1 to 1.3"),
                               "queries and keys are both multiplied by it, scores by its square",
                               kAdvice));
}

std::vector<Finding> Run(const LintInput& input) {
  std::vector<Finding> findings;
  const double base = ModelNumber(input, "rope.freq_base").value_or(10000);
  CheckBase(input, base, &findings);
  if (base >= kSmallestBase) CheckReach(input, base, &findings);
  CheckScaling(input, &findings);
  CheckMagnitude(input, &findings);
  return findings;
}

}  // namespace

const Check kRopeSettings = {"rope-settings", "RoPE's base, scaling and factors", Run};

}  // namespace renga
