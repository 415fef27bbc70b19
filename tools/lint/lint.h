// What is suspicious in a GGUF before anything runs.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "frontend/gguf/gguf.h"
#include "frontend/models/model.h"
#include "tools/lint/finding.h"
#include "tools/lint/weight_facts.h"

namespace renga {

// Reads every weight of the file once and runs every check. Findings come sorted: certain ones
// first, then in the order of the checks, then of the file. `model` is what BuildModel made of
// `file`. Errors as ReadWeightFacts.
absl::StatusOr<std::vector<Finding>> Lint(const GgufFile& file, const Model& model,
                                          const WeightFactsOptions& options);

}  // namespace renga
