#include "runtime/exec/executor.h"

#include <algorithm>
#include <cstring>

#include "ir/base/status.h"
#include "runtime/plan/layout.h"

namespace renga {
absl::StatusOr<std::unique_ptr<Executor>> Executor::Create(std::shared_ptr<const plan::Plan> plan,
                                                           const ExecutorOptions& options) {
  if (plan->target != "cpu") {
    return absl::UnimplementedError(StrCat("plan: compiled for ", plan->target,
                                           ", this device is cpu; compile with --target cpu"));
  }
  const int threads = std::clamp(options.threads, 1, 1024);
  std::unique_ptr<Executor> executor(new Executor(std::move(plan), threads));
  RENGA_ASSIGN_OR_RETURN(executor->limits_, CheckIndexOperands(*executor->plan_));
  RENGA_RETURN_IF_ERROR(CheckInputsAreKnown(*executor->plan_));
  WeightOptions weights;
  weights.plan_path = options.plan_path;
  weights.model_path = options.model_path;
  weights.threads = threads;
  weights.progress = options.progress;
  RENGA_ASSIGN_OR_RETURN(executor->weights_, WeightStore::Open(*executor->plan_, weights));
  RENGA_ASSIGN_OR_RETURN(executor->kv_, KvArena::Create(*executor->plan_));
  RENGA_ASSIGN_OR_RETURN(executor->activations_,
                         Region::Allocate(executor->plan_->memory.activations, "activations"));
  executor->sizes_.assign(executor->plan_->symbols.size(), 1);
  executor->PlaceInputs();
  RENGA_RETURN_IF_ERROR(executor->PrepareSteps(options));
  return executor;
}

void Executor::PlaceInputs() {
  uint64_t offset = plan::ArenaBytes(*plan_);
  input_data_.resize(plan_->inputs.size());
  for (const plan::Buffer& buffer : plan_->buffers) {
    if (buffer.space != plan::Space::kInput || buffer.view_of >= 0) continue;
    input_data_[buffer.index] = activations_.data() + offset;
    offset += plan::AlignUp(buffer.bytes);
  }
}

absl::Status Executor::PrepareSteps(const ExecutorOptions& options) {
  RENGA_ASSIGN_OR_RETURN(std::vector<cpu::PreparedKernel> kernels,
                         PrepareCpuKernels(*plan_, options.find_kernel));
  pool_.Reserve(CpuScratch(*plan_, kernels, pool_.threads()));
  steps_.reserve(kernels.size());
  for (size_t i = 0; i < kernels.size(); ++i) {
    PreparedStep& prepared = steps_.emplace_back();
    prepared.run = std::move(kernels[i].run);
    for (const int32_t input : plan_->steps[i].inputs) {
      prepared.inputs.push_back(MakeTensor(input));
    }
    for (const int32_t output : plan_->steps[i].outputs) {
      prepared.outputs.push_back(MakeTensor(output));
    }
  }
  // Tensors no longer move: remember which sizes change from run to run.
  const auto bind = [this](std::vector<cpu::TensorRef>& tensors,
                           const std::vector<int32_t>& buffers, PreparedStep& step) {
    for (size_t i = 0; i < tensors.size(); ++i) {
      if (buffers[i] < 0) continue;
      const std::vector<plan::Dim>& shape = plan_->buffers[buffers[i]].type.shape;
      for (size_t axis = 0; axis < shape.size(); ++axis) {
        if (shape[axis].symbol < 0) continue;
        bound_sizes_.push_back({&tensors[i].dims[axis], shape[axis].symbol});
        step.has_rows |= plan_->symbols[shape[axis].symbol].name == "R";
      }
    }
  };
  for (size_t i = 0; i < steps_.size(); ++i) {
    bind(steps_[i].inputs, plan_->steps[i].inputs, steps_[i]);
    bind(steps_[i].outputs, plan_->steps[i].outputs, steps_[i]);
  }
  for (const std::string& output : plan_->outputs) {
    for (size_t i = 0; i < plan_->buffers.size(); ++i) {
      const plan::Buffer& buffer = plan_->buffers[i];
      if (buffer.space != plan::Space::kWeight && buffer.name == output) {
        outputs_.push_back(static_cast<int32_t>(i));
      }
    }
  }
  return absl::OkStatus();
}

cpu::TensorRef Executor::MakeTensor(int32_t index) const {
  cpu::TensorRef tensor;
  if (index < 0) return tensor;
  const plan::Buffer& buffer = plan_->buffers[index];
  switch (buffer.space) {
    case plan::Space::kInput:
      tensor.data = input_data_[buffer.index];
      break;
    case plan::Space::kWeight:
      // Kernels take weights as inputs only (Validate: no step writes one).
      tensor.data = const_cast<uint8_t*>(weights_.data(buffer.index));
      break;
    case plan::Space::kCache:
      tensor.data = kv_.cache(buffer.index);
      break;
    case plan::Space::kArena:
      tensor.data = activations_.data() + buffer.offset;
      break;
    case plan::Space::kPersistent:
      break;  // of GPU plans only, which Create refuses
  }
  tensor.dtype = buffer.type.dtype;
  tensor.rank = static_cast<int>(buffer.type.shape.size());
  for (int axis = 0; axis < tensor.rank; ++axis) {
    const plan::Dim& dim = buffer.type.shape[axis];
    tensor.dims[axis] = dim.symbol < 0 ? dim.value : sizes_[dim.symbol];
  }
  return tensor;
}

absl::Status Executor::Run(const StepInputs& inputs, const StepObserver& observer) {
  if (inputs.fed_back) {
    return absl::InvalidArgumentError("tokens: expected ids, got those that a step chose");
  }
  RENGA_RETURN_IF_ERROR(CheckStepInputs(*plan_, limits_, inputs));
  BindSizes(inputs);
  CopyInputs(inputs);
  for (size_t i = 0; i < steps_.size(); ++i) {
    const PreparedStep& step = steps_[i];
    if (step.has_rows && inputs.rows.empty()) continue;
    bool done = false;
    if (hooks_.before) {
      RENGA_ASSIGN_OR_RETURN(done, hooks_.before(static_cast<int>(i)));
    }
    if (!done) step.run({step.inputs, step.outputs, pool_});
    if (hooks_.after) RENGA_RETURN_IF_ERROR(hooks_.after(static_cast<int>(i)));
    if (observer) RENGA_RETURN_IF_ERROR(observer(static_cast<int>(i)));
  }
  if (hooks_.end) hooks_.end();
  return absl::OkStatus();
}

void Executor::BindSizes(const StepInputs& inputs) {
  BindSymbols(*plan_, inputs, &sizes_);
  for (const BoundSize& bound : bound_sizes_) *bound.size = sizes_[bound.symbol];
}

void Executor::CopyInputs(const StepInputs& inputs) const {
  for (size_t i = 0; i < input_data_.size(); ++i) {
    const auto values = ValuesOf(inputs, plan_->inputs[i]);
    if (!values.empty())
      std::memcpy(input_data_[i], values.data(), values.size() * sizeof(int32_t));
  }
}

int Executor::FindOutput(std::string_view name) const {
  for (size_t i = 0; i < plan_->outputs.size(); ++i) {
    if (plan_->outputs[i] == name) return static_cast<int>(i);
  }
  return -1;
}

cpu::TensorRef Executor::output(int index) const { return MakeTensor(outputs_[index]); }

}  // namespace renga
