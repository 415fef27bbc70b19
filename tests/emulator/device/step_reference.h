// What every step of a plan should compute: the reference interpreter beside the emulator, on the
// same tokens, cells and pages. A step whose results differ is a wrong kernel, or a wrong launch of
// a right one.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ir/core/graph.h"
#include "ir/reference/interpreter.h"
#include "runtime/exec/executor.h"
#include "runtime/memory/weights.h"
#include "runtime/plan/plan.h"
#include "tests/emulator/device/emulator_forward.h"

namespace renga::emulator {

class StepReference {
 public:
  // `plan` outlives this. Errors as Parse, WeightStore::Open and Interpreter::Create.
  static absl::StatusOr<std::unique_ptr<StepReference>> Create(const plan::Plan& plan,
                                                               WeightOptions weights);

  // Computes all values of a run.
  absl::Status Run(const StepInputs& inputs);

  // Compares what step `index` of the same run left on the device. The difference must be below 1 %
  // of the values, both as root mean squares: f16 operands with f32 sums stay below that after all
  // layers of a model (tests/data/README.md), one wrong step does not.
  //
  // Of a plan with caches in q8_0 it must be below 5 %: values on the two sides of a boundary are
  // stored a whole step apart. With a root mean square of about 60 steps, a difference of 0.5 % is
  // 0.3 of a step, moves that share of them by a step and leaves sqrt(0.3) steps, 0.9 %. In K that
  // is times the size of a score (up to 5 or so in random models) a share of its weight.
  //
  // With caches in q4_0 it must be below 20 %: a root mean square is 8 / 3 steps there, of which a
  // difference of 0.5 % is 0.013, so that share moves and leaves sqrt(0.013) steps, 4.3 %; in K
  // likewise times the size of a score.
  //
  // With caches in f8_e4m3 it must be below 12 %: a step is at most an eighth of its number, so a
  // difference of 0.5 % leaves sqrt(0.005 / 8), 2.5 %; in K likewise.
  absl::Status Check(int index, EmulatorDevice& device) const;

  // Both, for `forward`, which must outlive this as a watched one.
  static absl::StatusOr<std::unique_ptr<StepReference>> Watch(EmulatorForward& forward);

 private:
  explicit StepReference(const plan::Plan& plan) : plan_(plan) {}
  absl::Status CheckCache(int32_t buffer, EmulatorDevice& device) const;

  const plan::Plan& plan_;
  Graph graph_;
  WeightStore weights_;  // as the files have them
  std::unique_ptr<Interpreter> interpreter_;
  std::map<std::string, HostTensor, std::less<>> values_;  // of the last run, by name
  std::vector<std::vector<int32_t>> cells_;                // likewise, by group
};

}  // namespace renga::emulator
