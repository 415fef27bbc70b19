// One sequence on the emulator.
#pragma once

#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/exec/forward.h"
#include "tests/emulator/device/emulator_runner.h"
#include "tests/emulator/device/page_tables.h"

namespace renga::emulator {

class EmulatorForward final : public Forward {
 public:
  // Errors as EmulatorRunner::Create.
  static absl::StatusOr<std::unique_ptr<EmulatorForward>> Create(
      std::shared_ptr<const plan::Plan> plan, DeviceOptions options);

  // Beyond what Forward says: kInternal for what the emulator saw.
  absl::Status Run(absl::Span<const int32_t> tokens, absl::Span<const int32_t> rows,
                   std::vector<float>* logits) override;
  absl::Status Logits(std::vector<float>* logits) const override { return runner_->Logits(logits); }
  absl::Span<const int32_t> next() const override { return runner_->next(); }
  int64_t position() const override { return pages_.position(sequence_); }
  int64_t context() const override { return runner_->plan().geometry.context; }
  int64_t max_step_tokens() const override { return runner_->plan().geometry.max_step_tokens; }
  int64_t max_rows() const override { return MaxRows(runner_->plan()); }
  int64_t vocab() const override { return runner_->plan().model.vocab; }
  // What is forgotten cannot be read any more: it is as if nothing had been stored.
  absl::Status Truncate(int64_t position) override;
  std::string_view device() const override { return "emulator"; }

  using Watcher = EmulatorRunner::Watcher;
  void set_watcher(Watcher watcher) { runner_->set_watcher(std::move(watcher)); }

  EmulatorDevice& emulator() { return runner_->emulator(); }

 private:
  explicit EmulatorForward(std::unique_ptr<EmulatorRunner> runner);

  std::unique_ptr<EmulatorRunner> runner_;
  absl::Status ForgetDropped();

  PageTables pages_;
  int sequence_;
};

}  // namespace renga::emulator
