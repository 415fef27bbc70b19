// A model's plan on the emulator.
#pragma once

#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "runtime/exec/step_runner.h"
#include "tests/emulator/device/emulator_device.h"

namespace renga::emulator {

class EmulatorRunner final : public StepRunner {
 public:
  // Errors as EmulatorDevice::Create and CheckModelOutputs.
  static absl::StatusOr<std::unique_ptr<EmulatorRunner>> Create(
      std::shared_ptr<const plan::Plan> plan, DeviceOptions options);

  // Beyond what StepRunner says: kInternal for what the emulator saw.
  absl::Status Run(const StepInputs& inputs) override;
  absl::Status Logits(std::vector<float>* logits) const override;
  absl::Span<const int32_t> next() const override { return next_; }
  bool samples() const override { return device_->samples(); }
  absl::Span<const SampledRow> sampled() const override { return sampled_; }
  // Cells that nothing has written stay so.
  absl::Status CopyPages(absl::Span<const PageCopy> copies) override;
  const plan::Plan& plan() const override { return device_->plan(); }
  std::string_view device() const override { return "emulator"; }

  // Called before each run with its inputs, and after each of its steps: for tests that look
  // closer.
  struct Watcher {
    std::function<absl::Status(const StepInputs& inputs)> before_run;
    StepObserver after_step;
  };
  void set_watcher(Watcher watcher) { watcher_ = std::move(watcher); }

  EmulatorDevice& emulator() { return *device_; }

 private:
  EmulatorRunner(std::unique_ptr<EmulatorDevice> device, int32_t logits, int32_t next)
      : device_(std::move(device)), logits_buffer_(logits), next_buffer_(next) {}
  absl::Status ReadResults(size_t rows);

  std::unique_ptr<EmulatorDevice> device_;
  int32_t logits_buffer_, next_buffer_;  // -1: the plan has no next
  std::vector<float> logits_;            // of the last run
  std::vector<int32_t> next_;
  std::vector<SampledRow> sampled_;
  Watcher watcher_;
};

}  // namespace renga::emulator
