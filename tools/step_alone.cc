#include "tools/step_alone.h"

#include <algorithm>
#include <memory>
#include <numeric>

#include "ir/base/status.h"
#include "runtime/exec/cuda_executor.h"
#include "tools/repro/captured_node.h"
#include "tools/step_memory.h"
#include "tools/step_values.h"

namespace renga {
namespace {

// The step that gives the values that are expected, in their order.
absl::StatusOr<int> FindStep(const StepValues& values, const KeptStep& step) {
  const auto gives = [&](const Node& node) {
    if (node.results.size() != step.expected.size()) return false;
    for (size_t i = 0; i < node.results.size(); ++i) {
      if (values.graph().value(node.results[i]).name != step.expected[i].name) return false;
    }
    return true;
  };
  for (size_t i = 0; i < values.plan().steps.size(); ++i) {
    const Node* const node = values.NodeOf(static_cast<int>(i));
    const plan::Step& of = values.plan().steps[i];
    if (node == nullptr || !gives(*node)) continue;
    if (node->operands.size() == of.inputs.size() && node->results.size() == of.outputs.size()) {
      return static_cast<int>(i);
    }
  }
  return absl::InvalidArgumentError(
      StrCat("expected a step that gives ", step.expected[0].name, ", got a plan without one"));
}

std::vector<int32_t> AllCells(const HostTensor& tensor) {
  std::vector<int32_t> cells(tensor.shape.empty() ? 0 : static_cast<size_t>(tensor.shape[0]));
  std::iota(cells.begin(), cells.end(), 0);
  return cells;
}

absl::Status WriteReads(const StepValues& values, int index, const KeptStep& step) {
  const plan::Step& of = values.plan().steps[static_cast<size_t>(index)];
  const Node& node = *values.NodeOf(index);
  for (size_t i = 0; i < of.inputs.size(); ++i) {
    if (node.operands[i] == kNoValue) continue;
    const std::string& name = values.graph().value(node.operands[i]).name;
    for (const KeptStep::Tensor& read : step.reads) {
      if (read.name != name) continue;
      RENGA_RETURN_IF_ERROR(Annotate(
          WriteTensor(values.memory(), of.inputs[i], read.tensor, AllCells(read.tensor)), name));
    }
  }
  return absl::OkStatus();
}

absl::Status Compare(const StepValues& values, int index, const KeptStep& step,
                     AloneResult* result) {
  const plan::Step& of = values.plan().steps[static_cast<size_t>(index)];
  for (size_t i = 0; i < of.outputs.size(); ++i) {
    const HostTensor& expected = step.expected[i].tensor;
    RENGA_ASSIGN_OR_RETURN(
        const HostTensor got,
        ReadTensor(values.memory(), of.outputs[i], expected.shape.empty() ? 0 : expected.shape[0]));
    const DType type = values.plan().buffers[static_cast<size_t>(of.outputs[i])].type.dtype;
    result->values.push_back(
        {step.expected[i].name, RelativeError(expected, got), ToleranceOf(values.plan(), type)});
  }
  return absl::OkStatus();
}

}  // namespace

bool AloneResult::right() const {
  return std::all_of(values.begin(), values.end(),
                     [](const Value& value) { return value.error <= value.tolerance; });
}

absl::StatusOr<AloneResult> RunStepAlone(const OpenedPlan& opened, const CudaDevice& device,
                                         const KeptStep& step, const AloneOptions& options) {
  CudaOptions cuda;
  cuda.threads = options.threads;
  cuda.plan_path = opened.path;
  cuda.check_steps = true;
  cuda.patience_seconds = options.patience_seconds;
  RENGA_ASSIGN_OR_RETURN(std::unique_ptr<CudaExecutor> executor,
                         CudaExecutor::Create(opened.plan, device.context, cuda));
  RENGA_ASSIGN_OR_RETURN(const StepValues values,
                         StepValues::Create(std::make_shared<CudaMemory>(*executor)));
  AloneResult result;
  RENGA_ASSIGN_OR_RETURN(result.step, FindStep(values, step));
  RENGA_RETURN_IF_ERROR(executor->SetHooks(
      {.before = [&](int index) -> absl::StatusOr<bool> {
         if (index != result.step) return true;  // done: left out
         RENGA_RETURN_IF_ERROR(WriteReads(values, index, step));
         return false;
       },
       .after = [&](int index) -> absl::Status {
         return index == result.step ? Compare(values, index, step, &result) : absl::OkStatus();
       }}));
  RENGA_RETURN_IF_ERROR(executor->Run(step.run.inputs()));
  if (!result.values.empty()) return result;
  return absl::InvalidArgumentError(StrCat("step ", opened.plan->steps[result.step].name,
                                           ": starts nothing for what it was given"));
}

}  // namespace renga
