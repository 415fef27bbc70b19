// One sequence on the emulator.
#pragma once

#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "runtime/exec/forward.h"
#include "tests/emulator/device/emulator_device.h"
#include "tests/emulator/device/page_tables.h"

namespace renga::emulator {

class EmulatorForward final : public Forward {
 public:
  // Errors as EmulatorDevice::Create; InvalidArgument when the plan has no output logits f32[R,V]
  // with at least the model's vocab columns.
  static absl::StatusOr<std::unique_ptr<EmulatorForward>> Create(
      std::shared_ptr<const plan::Plan> plan, DeviceOptions options);

  // Beyond what Forward says: kInternal for what the emulator saw.
  absl::Status Run(absl::Span<const int32_t> tokens, absl::Span<const int32_t> rows,
                   std::vector<float>* logits) override;
  absl::Status Logits(std::vector<float>* logits) const override;
  absl::Span<const int32_t> next() const override { return next_; }
  int64_t position() const override { return pages_.position(sequence_); }
  int64_t context() const override { return device_->plan().geometry.context; }
  int64_t max_step_tokens() const override { return device_->plan().geometry.max_step_tokens; }
  int64_t max_rows() const override { return max_rows_; }
  int64_t vocab() const override { return device_->plan().model.vocab; }
  // What is forgotten cannot be read any more: it is as if nothing had been stored.
  absl::Status Truncate(int64_t position) override;
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
  EmulatorForward(std::unique_ptr<EmulatorDevice> device, int32_t logits, int32_t next);
  absl::Status ReadResults(size_t rows);

  std::unique_ptr<EmulatorDevice> device_;
  PageTables pages_;
  int sequence_;
  int32_t logits_buffer_, next_buffer_;  // -1: the plan has no next
  int64_t max_rows_;
  std::vector<float> logits_;  // of the last run
  std::vector<int32_t> next_;
  Watcher watcher_;
};

}  // namespace renga::emulator
