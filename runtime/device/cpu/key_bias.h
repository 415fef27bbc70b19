// A bias of keys that their cache is without (ir/ops/attn_scores.cc): turned by each key's position
// and added to what was read.
//
// A key at position p0 + r, p0 a multiple of kTurns, gets the bias turned by p0 and then by r. The
// first is done once for kTurns keys, the cosines of r are a table: no cosine is computed for a
// key, and no angle is rounded to float before its cosine is taken.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/device/cpu/float_ops.h"
#include "runtime/device/cpu/rope.h"
#include "runtime/device/cpu/step_check.h"

namespace renga::cpu {

class KeyBias {
 public:
  static constexpr int64_t kTurns = 64;

  // From operand `operand`, which may be absent, and the attributes of a rotation, which are there
  // with it only; for a cache [C, kv_heads, width].
  static absl::StatusOr<KeyBias> Prepare(const StepCheck& check, size_t operand,
                                         const plan::TensorType& cache);

  // Floats that Add needs besides.
  int64_t scratch() const { return 2 * FloatStride(width_) + 2 * rope_.pairs(); }

  // Adds the bias of one head, `bias` [width], to rows of positions [begin, begin + count),
  // FloatStride(width) floats apart. What pads a row stays.
  void Add(const float* bias, int64_t begin, int64_t count, float* scratch, float* rows) const;

 private:
  // Positions whose multiples of kTurns have a table too; beyond, their cosines are computed.
  static constexpr int64_t kTabled = 4096;

  // The other number of the pair that number d of a head belongs to; d itself where none does.
  int64_t Partner(int64_t d) const;

  int64_t width_ = 0;
  Rope rope_;
  // Of turn r, for every number d of a padded head: turned[d] = x[d] cosine[d] + x[partner]
  // sine[d].
  std::vector<float> turns_;  // [kTurns, 2, FloatStride(width)], of magnitude 1
  std::vector<float> bases_;  // [kTabled / kTurns, 2 pairs]: Rope::Angles
};

}  // namespace renga::cpu
