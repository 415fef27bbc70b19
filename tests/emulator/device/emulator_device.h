// A device without a GPU: runs whole plans for GPUs, kernel by kernel, on the emulator, and says
// which step of the plan did what it must not.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/exec/device_sampling.h"
#include "runtime/exec/step_hooks.h"
#include "runtime/exec/step_inputs.h"
#include "runtime/memory/weights.h"
#include "runtime/plan/plan.h"
#include "tests/emulator/device/device_memory.h"
#include "tests/emulator/emulator.h"

namespace renga::emulator {

struct DeviceOptions {
  // Where the plan's kernels are found (CompilePlans): in the first that has one of the name.
  std::vector<std::shared_ptr<const KernelLibrary>> kernels;
  Schedule schedule;
  bool check_order = true;                               // see LaunchOptions
  uint64_t max_accesses = LaunchOptions().max_accesses;  // of a launch
  Placement placement = Placement::kApart;
  std::string plan_path, model_path;  // see WeightOptions
};

// Not thread-safe. Owns all memory of the run but the kernels.
class EmulatorDevice {
 public:
  // Errors: those of Validate and WeightStore::Open; NotFound for a kernel that the library lacks;
  // Unimplemented for symbols, inputs and steps that it does not know.
  static absl::StatusOr<std::unique_ptr<EmulatorDevice>> Create(
      std::shared_ptr<const plan::Plan> plan, DeviceOptions options);

  // Executes all steps. An error names the step, the variant, the kernel and what the emulator saw:
  //   step 3 (0.qkv), T = 9..16, kernel ..., block ..., codegen/kernels/...:57: race: ...
  // An error of `observer`, which is called after each step, is named likewise.
  absl::Status Run(const StepInputs& inputs, const StepObserver& observer = nullptr);

  // Whether the plan has a sampler; and what it chooses for rows of the last run.
  bool samples() const { return sampler_.has_value(); }
  absl::StatusOr<std::vector<SampledRow>> Sample(absl::Span<const RowSampling> asked);

  // A buffer's bytes as the last run left them.
  absl::Status Read(int32_t buffer, std::vector<uint8_t>* bytes) {
    return memory_->Read(buffer, symbols_, bytes);
  }
  absl::Status ReadCell(int32_t buffer, int32_t cell, std::vector<uint8_t>* bytes) {
    return memory_->ReadCell(buffer, cell, bytes);
  }
  // Any bytes of a buffer, from `offset` on: between two steps of a run, or after it. An error
  // where nothing has written some of them.
  absl::Status ReadBytes(int32_t buffer, uint64_t offset, absl::Span<uint8_t> to) {
    return memory_->ReadBytes(buffer, offset, to);
  }
  absl::Status WriteBytes(int32_t buffer, uint64_t offset, absl::Span<const uint8_t> from) {
    return memory_->WriteBytes(buffer, offset, from);
  }
  // Of the plan's symbols in the last run, or the one under way, by index.
  absl::Span<const int64_t> sizes() const { return symbols_; }

  // From the next run on, around each step that has something to launch; `after` comes before the
  // observer that Run is given.
  void SetHooks(StepHooks hooks) { hooks_ = std::move(hooks); }
  // In every cache of the group; what nothing has written stays so.
  absl::Status CopyCell(int group, int32_t from, int32_t to) {
    return memory_->CopyCell(group, from, to);
  }
  // As if nothing had ever been stored there.
  absl::Status ForgetCells(int group, absl::Span<const int32_t> cells) {
    return memory_->ForgetCells(group, cells);
  }

  const DeviceOptions& options() const { return options_; }
  const plan::Plan& plan() const { return *plan_; }
  // How often each kernel was launched.
  const std::map<std::string, int64_t>& launches() const { return launches_; }
  void set_schedule(const Schedule& schedule) { options_.schedule = schedule; }

 private:
  EmulatorDevice(std::shared_ptr<const plan::Plan> plan, DeviceOptions options)
      : plan_(std::move(plan)), options_(std::move(options)) {}

  absl::Status CheckPlan() const;
  absl::StatusOr<const Kernel*> FindKernel(const std::string& name) const;
  absl::Status BindInputs(const StepInputs& inputs);
  absl::Status RunStep(int index, const plan::Variant& variant, const StepInputs& inputs,
                       const StepObserver& observer);
  absl::Status RunLaunch(const plan::Launch& launch);
  absl::Status PrepareSampling();

  std::shared_ptr<const plan::Plan> plan_;
  DeviceOptions options_;
  WeightStore weights_;
  Emulator emulator_;
  std::unique_ptr<DeviceMemory> memory_;
  std::optional<DeviceSampling> sampler_;
  uint8_t* sampling_inputs_ = nullptr;
  uint8_t* sampling_ = nullptr;         // its memory
  std::vector<const Kernel*> kernels_;  // by index into Gpu::kernels
  std::vector<int64_t> symbols_;        // of the last run
  std::map<std::string, int64_t> launches_;
  StepHooks hooks_;
};

}  // namespace renga::emulator
