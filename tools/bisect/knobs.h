// The differences between two configurations, and every mixture of them as something that runs.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ir/base/digest.h"
#include "ir/core/graph.h"
#include "runtime/exec/forward.h"
#include "runtime/plan/plan.h"
#include "tools/bisect/delta_debug.h"
#include "tools/open_model.h"

namespace renga {

// The good configuration with some of the bad one's differences.
struct Mixture {
  Digest digest;  // of all that decides what it does: equal ones need one run
  std::shared_ptr<const plan::Plan> plan;
  std::string plan_path;  // of its file, where it has one
  std::function<absl::StatusOr<std::unique_ptr<Forward>>()> open;
};

// Where to look at a difference in a run of a mixture.
struct CulpritNodes {
  std::vector<std::string> nodes;  // of the mixture's plan; empty: not a matter of nodes
  // What they should compute, as a graph with the same names; empty: as the plan's own graph says.
  std::string good_ir;
};

class Knobs {
 public:
  virtual ~Knobs() = default;

  // One name a difference, in the order of the graph: "fuse-norm:3.attn_norm", "v_type: f16 ->
  // q8_0".
  const std::vector<std::string>& items() const { return items_; }

  // Errors are those of compiling: a mixture that cannot be made.
  virtual absl::StatusOr<Mixture> Mix(const Subset& bad) = 0;

  virtual CulpritNodes NodesOf(const Subset& culprit, const plan::Plan& plan) const = 0;

  // What cannot be told apart, for people; may be empty.
  virtual std::string note() const { return ""; }

 protected:
  std::vector<std::string> items_;
};

// One GGUF compiled in two ways for one device: passes, single rewrites of passes, layouts of
// weights, kernels of nodes that several can compute, types of the caches, sizes. Both sides'
// `open.device` is the same: cpu, reference or cuda[:N]. With cuda and a
// compile.target no GPU is needed and mixtures cannot be opened: their plans are for elsewhere.
absl::StatusOr<std::unique_ptr<Knobs>> CompiledKnobs(const std::string& gguf,
                                                     const OpenOptions& good,
                                                     const OpenOptions& bad);

// The steps of a plan on a device (that it was compiled for: "cpu", "cuda:0"), each by its kernels
// (bad) or by the reference interpreter (good), which takes what `good_ir` has under the step's
// names, and where that is not there the plan's own graph.
absl::StatusOr<std::unique_ptr<Knobs>> StepKnobs(const OpenedPlan& plan, const std::string& device,
                                                 std::string good_ir, int threads);

}  // namespace renga
