#include "tools/lint/lint.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <utility>

#include "ir/base/status.h"
#include "tools/lint/check.h"

namespace renga {

std::string_view Name(Sureness sureness) {
  constexpr std::string_view kNames[] = {"certain", "likely", "maybe"};
  return kNames[static_cast<int>(sureness)];
}

absl::StatusOr<std::vector<Finding>> Lint(const GgufFile& file, const Model& model,
                                          const WeightFactsOptions& options) {
  LintInput input{file, model, {}, FamiliesOf(file)};
  RENGA_ASSIGN_OR_RETURN(input.weights, ReadWeightFacts(file, options));
  std::vector<Finding> findings;
  for (const Check* check : AllChecks()) {
    for (Finding& finding : check->run(input)) {
      finding.check = std::string(check->name);
      findings.push_back(std::move(finding));
    }
  }
  std::stable_sort(findings.begin(), findings.end(),
                   [](const Finding& a, const Finding& b) { return a.sureness < b.sureness; });
  return findings;
}

}  // namespace renga
