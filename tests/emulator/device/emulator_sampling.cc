// The sampler of a plan on the emulator.
#include "ir/base/status.h"
#include "runtime/plan/layout.h"
#include "tests/emulator/device/emulator_device.h"

namespace renga::emulator {

absl::Status EmulatorDevice::PrepareSampling() {
  if (plan_->gpu.sampler.kernel < 0) return absl::OkStatus();
  sampler_.emplace(*plan_);
  const uint64_t bytes = sampler_->memory().bytes;
  RENGA_ASSIGN_OR_RETURN(
      void* inputs, emulator_.memory().Allocate("sampled rows", sampler_->memory().input_bytes));
  RENGA_ASSIGN_OR_RETURN(void* base, emulator_.memory().Allocate("sampling", bytes));
  sampling_inputs_ = static_cast<uint8_t*>(inputs);
  sampling_ = static_cast<uint8_t*>(base);
  return emulator_.memory().Write(sampling_, std::vector<uint8_t>(bytes, 0));
}

absl::StatusOr<std::vector<SampledRow>> EmulatorDevice::Sample(
    absl::Span<const RowSampling> asked) {
  const plan::SampleMemory& memory = sampler_->memory();
  GlobalMemory& device = emulator_.memory();
  std::vector<uint8_t> inputs(memory.input_bytes);
  inputs.resize(sampler_->Begin(asked, inputs.data()));
  RENGA_RETURN_IF_ERROR(device.Write(sampling_inputs_, inputs));
  const absl::Span<const uint64_t> addresses = memory_->addresses();
  const plan::GpuSampler& sampler = plan_->gpu.sampler;
  const Kernel& kernel = *kernels_[sampler.kernel];
  if (kernel.argument_bytes != sizeof(plan::SampleArgs)) {
    return absl::InternalError(StrCat("kernel ", kernel.name, ": takes ", kernel.argument_bytes,
                                      " bytes of arguments, a sampler has ",
                                      sizeof(plan::SampleArgs)));
  }
  LaunchOptions options;
  options.schedule = options_.schedule;
  options.check_order = options_.check_order;
  options.overlaps_previous = true;  // as CudaExecutor has it
  for (const DeviceSampling::Launch& launch :
       sampler_->Launches({.inputs = reinterpret_cast<uint64_t>(sampling_inputs_),
       .memory = reinterpret_cast<uint64_t>(sampling_),
       .logits = addresses[plan::OutputBuffer(*plan_, "logits")],
       .next = addresses[plan::OutputBuffer(*plan_, "next")]})) {
    ++launches_[kernel.name];
    plan::SampleArgs args = launch.args;
    void* pointers[] = {&args, nullptr};
    RENGA_RETURN_IF_ERROR(emulator_.LaunchWith(
        kernel,
        {{static_cast<unsigned>(memory.blocks), static_cast<unsigned>(launch.rows), 1},
         {static_cast<unsigned>(plan_->gpu.kernels[sampler.kernel].threads)},
         static_cast<size_t>(sampler.dynamic_shared)},
        options, pointers));
  }
  std::vector<uint8_t> results(sampler_->result_bytes()), top(sampler_->top_bytes());
  RENGA_RETURN_IF_ERROR(device.Read(sampling_ + memory.results, absl::MakeSpan(results)));
  RENGA_RETURN_IF_ERROR(device.Read(sampling_ + memory.top, absl::MakeSpan(top)));
  return sampler_->Finish(results.data(), top.data());
}

}  // namespace renga::emulator
