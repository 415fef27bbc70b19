// Rotations of heads by their position, for rope and qkv_rope.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/device/cpu/step_check.h"

namespace renga::cpu {

struct Rope {
  std::vector<double> frequency;  // a turn's angle per position, for each pair; without factors
  bool neox = false;
  double magnitude = 1;

  int64_t pairs() const { return static_cast<int64_t>(frequency.size()); }

  // The cosines of all pairs at `position`, then their sines: 2 * pairs() numbers. `factors` (one a
  // pair) may be null.
  void Angles(int64_t position, const float* factors, float* table) const;

  // Turns the first 2 * pairs() numbers of a head of `width` and copies the others. In place is
  // fine.
  void Rotate(const float* in, int64_t width, const float* table, float* out) const;
};

// From the step's attributes, for heads of `width`; operand `factors_at` may be absent.
absl::StatusOr<Rope> PrepareRope(const StepCheck& check, int64_t width, size_t factors_at);

}  // namespace renga::cpu
