// One step of a plan on a GPU on which nothing else has run.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tools/cuda_device.h"
#include "tools/open_model.h"
#include "tools/repro/kept_step.h"

namespace renga {

struct AloneOptions {
  int threads = 1;  // of the host, for loading the weights
  double patience_seconds = 60;
};

struct AloneResult {
  int step = -1;  // index into Plan::steps
  struct Value {
    std::string name;
    double error = 0, tolerance = 0;  // relative
  };
  std::vector<Value> values;  // what it gave

  bool right() const;
};

// Puts what the step reads where it reads it, launches it and no other, and compares. Errors as
// CudaExecutor::Create and Run: Unavailable where the step fails or does not end; InvalidArgument
// where the plan has no such step.
absl::StatusOr<AloneResult> RunStepAlone(const OpenedPlan& opened, const CudaDevice& device,
                                         const KeptStep& step, const AloneOptions& options);

}  // namespace renga
