// A step of a GPU with all that it was given, as a file: to run it again by itself.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ir/core/eval.h"
#include "ir/core/graph.h"
#include "tools/given_steps.h"
#include "tools/repro/captured_node.h"

namespace renga {

struct KeptStep {
  struct Tensor {
    std::string name;  // of the graph's value
    HostTensor tensor;
  };
  GivenRun run;
  std::vector<Tensor> reads;     // what the node reads beside the run's inputs and weights
  std::vector<Tensor> expected;  // its results, as the interpreter has them
};

// Name of the file in a folder.
inline constexpr char kKeptStepFile[] = "step.safetensors";

// As a trace (docs/trace-format.md) of the node's values and the run's. `graph` is the plan's,
// `node` was cut out of it. Errors as WriteTrace.
absl::Status WriteKeptStep(const std::string& folder, const Graph& graph, const GivenRun& run,
                           const CapturedNode& node);

// Errors as ReadTrace; DataLoss for a trace that is none of a step.
absl::StatusOr<KeptStep> ReadKeptStep(const std::string& folder);

}  // namespace renga
