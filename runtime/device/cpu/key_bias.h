// A bias of keys that their cache is without (ir/ops/attn_scores.cc): turned by each key's position
// and added to what was read.
//
// A key at position p0 + r, p0 a multiple of kTurns, gets the bias turned by p0 and then by r. The
// cosines of r are a table, those of p0 are computed once for kTurns keys; so a cosine a pair and
// key is saved, and no angle is rounded to float before its cosine is taken.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
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
  int64_t scratch() const { return width_ + 2 * rope_.pairs(); }

  // Adds the bias of one head, `bias` [width], to rows of positions [begin, begin + count),
  // `stride` floats apart.
  void Add(const float* bias, int64_t begin, int64_t count, int64_t stride, float* scratch,
           float* rows) const;

 private:
  void AddTurned(const float* bias, int64_t turn, float* row) const;

  int64_t width_ = 0;
  Rope rope_;
  std::vector<float> turns_;  // [kTurns, 2, pairs]: cosines and sines, of magnitude 1
};

}  // namespace renga::cpu
