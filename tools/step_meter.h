// A device with what is asked of it written down: how many steps, what they must read and compute,
// how long the device takes.
#pragma once

#include <chrono>
#include <cstdint>
#include <string_view>
#include <vector>

#include "runtime/exec/step_runner.h"
#include "tools/step_cost.h"

namespace renga {

struct StepTally {
  const StepCosts* costs = nullptr;  // of the plan; null: `cost` is not counted, which takes time
  int64_t steps = 0;
  int64_t tokens = 0;
  StepCost cost;
  double seconds = 0;  // that whoever calls the device waits for it
};

// Another runner, to everybody else.
class StepMeter : public StepRunner {
 public:
  // Both must outlive it. `tally` may be changed between calls.
  StepMeter(StepRunner& runner, StepTally& tally) : runner_(runner), tally_(tally) {}

  absl::Status Run(const StepInputs& inputs) override;
  bool runs_ahead() const override { return runner_.runs_ahead(); }
  absl::Status Start(const StepInputs& inputs) override;
  absl::Status Finish() override;
  absl::Status Logits(std::vector<float>* logits) const override;
  absl::Span<const int32_t> next() const override;
  bool samples() const override { return runner_.samples(); }
  absl::Span<const SampledRow> sampled() const override { return runner_.sampled(); }
  absl::Status CopyPages(absl::Span<const PageCopy> copies) override;
  const plan::Plan& plan() const override { return runner_.plan(); }
  std::string_view device() const override { return runner_.device(); }

 private:
  class Timer;
  void Count(const StepInputs& inputs);

  StepRunner& runner_;
  StepTally& tally_;
};

}  // namespace renga
