#include "tools/step_meter.h"

namespace renga {

// Adds the time of a scope.
class StepMeter::Timer {
 public:
  explicit Timer(StepTally& tally) : tally_(tally) {}
  ~Timer() {
    tally_.seconds +=
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  StepTally& tally_;
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

void StepMeter::Count(const StepInputs& inputs) {
  ++tally_.steps;
  tally_.tokens += static_cast<int64_t>(inputs.tokens.size());
  if (tally_.costs != nullptr) tally_.cost += tally_.costs->Cost(ShapesOf(inputs));
}

absl::Status StepMeter::Run(const StepInputs& inputs) {
  Count(inputs);
  const Timer timer(tally_);
  return runner_.Run(inputs);
}

absl::Status StepMeter::Start(const StepInputs& inputs) {
  Count(inputs);
  const Timer timer(tally_);
  return runner_.Start(inputs);
}

absl::Status StepMeter::Finish() {
  const Timer timer(tally_);
  return runner_.Finish();
}

absl::Status StepMeter::Logits(std::vector<float>* logits) const {
  const Timer timer(tally_);
  return runner_.Logits(logits);
}

// A device may wait here for what it has been told to do.
absl::Span<const int32_t> StepMeter::next() const {
  const Timer timer(tally_);
  return runner_.next();
}

absl::Status StepMeter::CopyPages(absl::Span<const PageCopy> copies) {
  const Timer timer(tally_);
  return runner_.CopyPages(copies);
}

}  // namespace renga
