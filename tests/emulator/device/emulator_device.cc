#include "tests/emulator/device/emulator_device.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "ir/base/status.h"
#include "runtime/exec/step_inputs.h"
#include "runtime/plan/launch.h"
#include "runtime/plan/layout.h"
#include "runtime/plan/validate.h"
#include "tests/emulator/tensor_map.h"

namespace renga::emulator {
namespace {

// As a kernel wants its arguments.
struct alignas(plan::kTensorMapAlignment) ArgumentBlock {
  uint8_t bytes[plan::kMaxArgumentBytes];
};

absl::StatusOr<plan::EncodedTensorMap> EncodeMap(const plan::TensorMapSpec& spec) {
  TensorMapSpec map;
  map.base = reinterpret_cast<const void*>(spec.address);
  map.element_bytes = static_cast<uint32_t>(Info(spec.type).block_bytes);
  map.rank = spec.axes;
  std::copy(spec.sizes.begin(), spec.sizes.end(), map.sizes);
  std::copy(spec.strides.begin() + 1, spec.strides.end(), map.stride_bytes);
  std::copy(spec.tile.begin(), spec.tile.end(), map.box);
  map.swizzle = spec.swizzle == plan::Swizzle::k128Bytes ? Swizzle::k128Bytes : Swizzle::kNone;
  RENGA_ASSIGN_OR_RETURN(const EncodedTensorMap made, MakeTensorMap(map));
  plan::EncodedTensorMap encoded;
  static_assert(sizeof(made) == sizeof(encoded));
  std::memcpy(encoded.data(), &made, sizeof(made));
  return encoded;
}

}  // namespace

absl::StatusOr<std::unique_ptr<EmulatorDevice>> EmulatorDevice::Create(
    std::shared_ptr<const plan::Plan> plan, DeviceOptions options) {
  RENGA_RETURN_IF_ERROR(plan::Validate(*plan));
  std::unique_ptr<EmulatorDevice> device(new EmulatorDevice(std::move(plan), std::move(options)));
  RENGA_RETURN_IF_ERROR(device->CheckPlan());
  for (const plan::GpuKernel& kernel : device->plan_->gpu.kernels) {
    RENGA_ASSIGN_OR_RETURN(const Kernel* found, device->FindKernel(kernel.name));
    device->kernels_.push_back(found);
  }
  WeightOptions weights;
  weights.plan_path = device->options_.plan_path;
  weights.model_path = device->options_.model_path;
  RENGA_ASSIGN_OR_RETURN(device->weights_, WeightStore::Open(*device->plan_, weights));
  RENGA_ASSIGN_OR_RETURN(device->memory_, DeviceMemory::Create(*device->plan_, device->weights_,
                                                               device->options_.placement,
                                                               &device->emulator_.memory()));
  RENGA_RETURN_IF_ERROR(device->PrepareSampling());
  device->symbols_.assign(device->plan_->symbols.size(), 1);
  return device;
}

absl::StatusOr<const Kernel*> EmulatorDevice::FindKernel(const std::string& name) const {
  for (const auto& library : options_.kernels) {
    if (const auto kernel = library->Find(name); kernel.ok()) return kernel;
  }
  return absl::NotFoundError(StrCat("kernel ", name, ": not compiled"));
}

absl::Status EmulatorDevice::CheckPlan() const {
  RENGA_RETURN_IF_ERROR(CheckInputsAreKnown(*plan_));
  for (size_t i = 0; i < plan_->steps.size(); ++i) {
    const plan::Step& step = plan_->steps[i];
    if (step.variants.empty()) {
      return absl::UnimplementedError(StrCat("step ", i, " (", step.name,
                                             "): expected launches of a GPU, got none; compile "
                                             "the plan with --target sm_90a"));
    }
  }
  return absl::OkStatus();
}

absl::Status EmulatorDevice::BindInputs(const StepInputs& inputs) {
  BindSymbols(*plan_, inputs, &symbols_);
  for (size_t i = 0; i < symbols_.size(); ++i) {
    const plan::Symbol& symbol = plan_->symbols[i];
    if (symbols_[i] > symbol.max) {
      return absl::InvalidArgumentError(
          StrCat("symbol ", symbol.name, ": expected at most ", symbol.max, ", got ", symbols_[i]));
    }
  }
  for (size_t i = 0; i < plan_->inputs.size(); ++i) {
    RENGA_RETURN_IF_ERROR(
        memory_->SetInput(static_cast<int>(i), ValuesOf(inputs, plan_->inputs[i])));
  }
  return absl::OkStatus();
}

absl::Status EmulatorDevice::Run(const StepInputs& inputs, const StepObserver& observer) {
  if (inputs.tokens.empty() || inputs.sequence_count < 1) {
    return absl::InvalidArgumentError("run: expected a token and a sequence or more, got none");
  }
  if (inputs.windows.size() != plan_->geometry.windows.size()) {
    return absl::InvalidArgumentError(StrCat("run: expected page tables of ",
                                             plan_->geometry.windows.size(), " windows, got ",
                                             inputs.windows.size()));
  }
  RENGA_RETURN_IF_ERROR(BindInputs(inputs));
  for (size_t i = 0; i < plan_->steps.size(); ++i) {
    const plan::Step& step = plan_->steps[i];
    const plan::Variant* variant = plan::ChooseVariant(step, symbols_);
    if (variant == nullptr) continue;  // no rows
    const absl::Status status = RunStep(static_cast<int>(i), *variant, inputs, observer);
    if (!status.ok()) {
      const plan::Symbol& symbol = plan_->symbols[step.chosen_by];
      return Annotate(status, StrCat("step ", i, " (", step.name, "), ", symbol.name, " = ",
                                     symbols_[step.chosen_by], " of up to ", variant->last));
    }
  }
  return absl::OkStatus();
}

absl::Status EmulatorDevice::RunStep(int index, const plan::Variant& variant,
                                     const StepInputs& inputs, const StepObserver& observer) {
  RENGA_RETURN_IF_ERROR(memory_->BeginStep(index));
  bool done = false;
  if (hooks_.before) {
    RENGA_ASSIGN_OR_RETURN(done, hooks_.before(index));
  }
  for (const plan::Launch& launch : variant.launches) {
    if (!done) RENGA_RETURN_IF_ERROR(RunLaunch(launch));
  }
  absl::Status status = memory_->CheckStep(index, symbols_, inputs);
  if (status.ok() && hooks_.after) status = hooks_.after(index);
  if (status.ok() && observer) status = observer(index);
  if (status.ok()) return memory_->EndStep(index);
  std::vector<std::string> names;
  for (const plan::Launch& launch : variant.launches) {
    names.push_back(plan_->gpu.kernels[launch.kernel].name);
  }
  return Annotate(status, StrCat("kernel ", StrJoin(names, ", ")));
}

absl::Status EmulatorDevice::RunLaunch(const plan::Launch& launch) {
  const Kernel& kernel = *kernels_[launch.kernel];
  ++launches_[kernel.name];
  const absl::StatusOr<std::vector<uint8_t>> packed =
      plan::PackArguments(launch.args, memory_->addresses(), symbols_, EncodeMap);
  if (!packed.ok()) return Annotate(packed.status(), StrCat("kernel ", kernel.name));
  if (packed->size() != kernel.argument_bytes) {
    return absl::InvalidArgumentError(
        StrCat("kernel ", kernel.name, ": takes ", kernel.argument_bytes,
               " bytes of arguments, the launch has ", packed->size()));
  }
  RENGA_ASSIGN_OR_RETURN(const plan::LaunchShape shape, plan::ShapeOf(*plan_, launch, symbols_));
  const auto size = [](int64_t value) { return static_cast<unsigned>(value); };
  LaunchOptions options;
  options.max_accesses = options_.max_accesses;
  options.schedule = options_.schedule;
  options.check_order = options_.check_order;
  options.overlaps_previous = launch.overlaps_previous;
  ArgumentBlock arguments;
  std::copy(packed->begin(), packed->end(), arguments.bytes);
  void* pointers[] = {arguments.bytes, nullptr};
  return emulator_.LaunchWith(kernel,
                              {{size(shape.grid[0]), size(shape.grid[1]), size(shape.grid[2])},
                               {size(shape.threads)},
                               static_cast<size_t>(shape.dynamic_shared)},
                              options, pointers);
}

}  // namespace renga::emulator
