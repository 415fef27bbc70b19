// A device between whose steps a test does something of its own.
#pragma once

#include <memory>
#include <utility>

#include "ir/base/status.h"
#include "tools/step_recorder.h"

namespace renga {

class HookedDevice final : public StepDevice {
 public:
  // `hooks` come before those of whoever runs it.
  HookedDevice(std::unique_ptr<StepDevice> device, StepHooks hooks)
      : device_(std::move(device)), hooks_(std::move(hooks)) {}

  const StepMemory& memory() const override { return device_->memory(); }
  std::string_view name() const override { return device_->name(); }
  absl::Status Forget() override { return device_->Forget(); }
  absl::Status Run(const StepInputs& inputs, const StepHooks& hooks) override {
    return device_->Run(inputs, {.before = [&](int step) { return Before(step, hooks); },
                                 .after = [&](int step) { return After(step, hooks); }});
  }

 private:
  absl::StatusOr<bool> Before(int step, const StepHooks& hooks) const {
    bool done = false;
    if (hooks_.before) {
      RENGA_ASSIGN_OR_RETURN(done, hooks_.before(step));
    }
    if (done || !hooks.before) return done;
    return hooks.before(step);
  }
  absl::Status After(int step, const StepHooks& hooks) const {
    if (hooks_.after) RENGA_RETURN_IF_ERROR(hooks_.after(step));
    return hooks.after ? hooks.after(step) : absl::OkStatus();
  }

  const std::unique_ptr<StepDevice> device_;
  const StepHooks hooks_;
};

// Changes the first result of the step of that name: each number is `factor` times itself.
inline absl::Status ScaleResult(const StepMemory& memory, int step, float factor) {
  const int32_t output = memory.plan().steps[static_cast<size_t>(step)].outputs[0];
  RENGA_ASSIGN_OR_RETURN(HostTensor tensor, ReadTensor(memory, output, 0));
  for (float& x : tensor.f) x *= factor;
  return WriteTensor(memory, output, tensor, {});
}

// Of a plan's steps the one of that name; -1 where it has none.
inline int StepOf(const plan::Plan& plan, std::string_view name) {
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    if (plan.steps[i].name == name) return static_cast<int>(i);
  }
  return -1;
}

}  // namespace renga
