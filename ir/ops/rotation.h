// Rotary position embedding (Su et al., "RoFormer", 2021), shared by the operators that turn
// something by a position. Of a head the first `dims` values rotate, the others pass:
//   pair p of dims/2:  neox (p, p + dims/2), norm (2p, 2p+1)
//   (a, b) -> m * (a cos - b sin, a sin + b cos),  angle = position * f_p,  m = magnitude
//   f_p = base^(-2p/dims) / factors[p]
//   scaling linear: f_p / factor.  none: f_p.
//   scaling yarn (Peng et al., 2023): f_p (ramp_p + (1 - ramp_p) / factor), see the .cc file.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "ir/core/eval.h"
#include "ir/core/infer.h"

namespace renga {

// The attributes of a rotation, for heads of `head_dim`.
absl::Status ExpectRotation(const InferCall& call, int64_t head_dim);

struct Rotation {
  std::vector<double> frequency;  // radians a position, one a pair
  bool neox = false;
  double magnitude = 1;

  int64_t pairs() const { return static_cast<int64_t>(frequency.size()); }
  // Where a pair's two numbers lie in a head.
  int64_t First(int64_t pair) const { return neox ? pair : 2 * pair; }
  int64_t Second(int64_t pair) const { return neox ? pair + pairs() : 2 * pair + 1; }
};

// From attributes that ExpectRotation accepts; `factors`, one a pair, may be empty.
Rotation RotationOf(const EvalCall& call, const std::vector<float>& factors);

}  // namespace renga
