// One node of a run with everything around it: what it read, what it gave, what it
// should have given. What a repro folder is written from.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/memory/weights.h"
#include "runtime/plan/plan.h"
#include "tools/repro/node_case.h"
#include "tools/step_values.h"

namespace renga {

// The bytes of a plan's weights as the model's file has them.
class PlanWeights {
 public:
  // Errors as WeightStore::Open; `plan_path` as in WeightOptions.
  static absl::StatusOr<std::shared_ptr<const PlanWeights>> Open(
      std::shared_ptr<const plan::Plan> plan, const std::string& plan_path, int threads);

  WeightBytes bytes() const;  // valid while this is there

 private:
  std::shared_ptr<const plan::Plan> plan_;
  WeightStore store_;
};

struct CapturedNode {
  std::string name, op;  // of the node, without sigil
  std::string device;
  NodeCase own;   // the node itself; returns are its results
  NodeCase part;  // what it stands for in the good graph; the first returns are its results
  std::vector<HostTensor> expected;    // one per result: what the interpreter makes of `part`
  std::vector<HostTensor> as_written;  // likewise of `own`: differs where the graph is wrong
  std::vector<HostTensor> got;         // likewise the device
  std::vector<double> errors;          // of got from expected, relative (root mean square)
  std::vector<double> tolerances;      // allowed of that (docs/verify.md)
  std::shared_ptr<const PlanWeights> weights;

  bool wrong() const;
  // Whether `own` does what `part` does: else a pass is at fault, and not a kernel.
  bool graph_is_right() const;
};

// Relative error in the root mean square; infinite where only one side is a number.
double RelativeError(const HostTensor& expected, const HostTensor& got);

// Relative error that a result of that type may have on a plan's device (docs/verify.md).
double ToleranceOf(const plan::Plan& plan, DType type);

// Step `step` of the device behind `values`, which has just run. `good` as for CutOutStep; where
// that graph does not have the values that the step reads and gives, `own` stands for it.
absl::StatusOr<CapturedNode> CaptureStep(const StepValues& values, const Graph& good, int step,
                                         std::shared_ptr<const PlanWeights> weights, int threads);

struct CaptureOptions {
  std::vector<std::string> nodes;  // names of steps, or of values that they give
  std::string good_ir;             // empty: the plan's own graph
  std::vector<int32_t> ids;        // the prompt
  int64_t tokens = 1;              // generated behind it, while nothing wrong was seen
  int threads = 1;
  const std::atomic<bool>* cancel = nullptr;
};

// Of each node where it is first wrong in a run of the plan on the cpu, or where it is farthest
// off; in the order of the steps. Names that no step has are left out. Errors as the executor's.
absl::StatusOr<std::vector<CapturedNode>> CaptureNodes(
    const std::shared_ptr<const plan::Plan>& plan, const std::string& plan_path,
    const CaptureOptions& options);

}  // namespace renga
