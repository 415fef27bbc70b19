// The model that a plan should be of: its graph as the frontend builds it from the GGUF, and the
// file's bytes. For a plan that may be wrong in anything.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/memory/weights.h"
#include "runtime/plan/plan.h"
#include "tools/open_model.h"

namespace renga {

// A weight of which the plan's device has other bytes than the model's file.
struct WeightFault {
  std::string name;  // without sigil
  std::string what;  // "zeros, of which the file has 0 of 896 bytes"
};

struct Truth {
  std::shared_ptr<const plan::Plan> plan;  // the frontend's graph without passes, for the cpu
  std::shared_ptr<const WeightStore> store;
  std::vector<WeightFault> faults;  // in the plan's order
};

// `gguf` as one would compile it with the sizes of `opened`, and that plan's weights against it.
// FailedPrecondition, naming what differs, where the plan is of another model: another
// architecture, vocabulary, number of layers, or a weight that the file lacks or has in another
// shape or type. Errors as Compile and WeightStore::Open.
absl::StatusOr<Truth> OpenTruth(const std::string& gguf, const OpenedPlan& opened, int threads);

}  // namespace renga
