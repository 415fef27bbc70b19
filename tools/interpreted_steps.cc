#include "tools/interpreted_steps.h"

#include <utility>
#include <vector>

#include "ir/base/status.h"
#include "tools/file_weights.h"

namespace renga {

InterpretedSteps::InterpretedSteps(std::shared_ptr<const plan::Plan> plan, WeightStore store,
                                   StepValues values, std::shared_ptr<const Graph> good,
                                   int threads)
    : plan_(std::move(plan)),
      store_(std::move(store)),
      values_(std::move(values)),
      good_(std::move(good)),
      threads_(threads) {}

absl::StatusOr<std::unique_ptr<InterpretedSteps>> InterpretedSteps::Create(
    const OpenedPlan& opened, std::shared_ptr<const StepMemory> memory,
    std::shared_ptr<const Graph> good, int threads) {
  WeightOptions weights;
  weights.plan_path = opened.path;
  weights.threads = threads;
  weights.packed = false;
  RENGA_ASSIGN_OR_RETURN(WeightStore store, WeightStore::Open(*opened.plan, weights));
  RENGA_ASSIGN_OR_RETURN(StepValues values, StepValues::Create(std::move(memory)));
  return std::unique_ptr<InterpretedSteps>(new InterpretedSteps(
      opened.plan, std::move(store), std::move(values), std::move(good), threads));
}

absl::Status InterpretedSteps::Compute(int step) const {
  absl::StatusOr<NodeCase> part = absl::InvalidArgumentError("no other graph");
  if (good_ != nullptr) part = values_.CutOutStep(*good_, step);
  if (absl::IsInvalidArgument(part.status())) part = values_.CutOutStep(values_.graph(), step);
  RENGA_RETURN_IF_ERROR(part.status());
  RENGA_ASSIGN_OR_RETURN(const std::vector<HostTensor> results,
                         Evaluate(*part, FileWeights(*plan_, store_), threads_));
  const std::vector<int32_t>& outputs = plan_->steps[static_cast<size_t>(step)].outputs;
  for (size_t i = 0; i < outputs.size(); ++i) {
    RENGA_RETURN_IF_ERROR(values_.Write(outputs[i], results[i]));
  }
  return absl::OkStatus();
}

}  // namespace renga
