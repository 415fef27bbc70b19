#include "runtime/device/cpu/key_bias.h"

#include <algorithm>
#include <limits>

#include "ir/base/status.h"
#include "ir/base/strings.h"

namespace renga::cpu {

absl::StatusOr<KeyBias> KeyBias::Prepare(const StepCheck& check, size_t operand,
                                         const plan::TensorType& cache) {
  constexpr std::string_view kAttrs[] = {"base",    "beta_fast", "beta_slow",
                                         "dims",    "factor",    "magnitude",
                                         "pairing", "scaling",   "original_context"};
  constexpr size_t kNoFactors = std::numeric_limits<size_t>::max();
  KeyBias bias;
  const plan::TensorType* const given = check.Optional(operand);
  if (given == nullptr) {
    for (const std::string_view attr : kAttrs) {
      if (check.HasAttr(attr)) {
        return check.Error(StrCat("attribute ", attr, " is given, expected none without k_bias"));
      }
    }
    return bias;
  }
  RENGA_RETURN_IF_ERROR(check.InType(operand, {DType::kF32}, 1));
  const plan::Dim &heads = cache.shape[1], &width = cache.shape[2];
  if (heads.symbol >= 0 || width.symbol >= 0) {
    return check.Error(StrCat("k_cache has shape ", check.ShapeText(cache),
                              ", expected constant sizes at axes 1 and 2"));
  }
  RENGA_RETURN_IF_ERROR(
      check.SameDim("k_bias", *given, 0, "all heads of k_cache", {-1, heads.value * width.value}));
  bias.width_ = width.value;
  RENGA_ASSIGN_OR_RETURN(bias.rope_, PrepareRope(check, width.value, kNoFactors));
  Rope turns = bias.rope_;
  turns.magnitude = 1;
  const int64_t numbers = 2 * turns.pairs();
  bias.turns_.resize(kTurns * numbers);
  for (int64_t r = 0; r < kTurns; ++r) {
    turns.Angles(r, nullptr, bias.turns_.data() + r * numbers);
  }
  return bias;
}

void KeyBias::AddTurned(const float* bias, int64_t turn, float* row) const {
  const int64_t n = rope_.pairs();
  const float* __restrict cosine = turns_.data() + turn * 2 * n;
  const float* __restrict sine = cosine + n;
  // Two loops and not one with strides, so that the halves of neox are vectors.
  if (rope_.neox) {
    const float* __restrict a = bias, * __restrict b = bias + n;
    float* __restrict first = row, * __restrict second = row + n;
    for (int64_t p = 0; p < n; ++p) {
      first[p] += a[p] * cosine[p] - b[p] * sine[p];
      second[p] += a[p] * sine[p] + b[p] * cosine[p];
    }
  } else {
    for (int64_t p = 0; p < n; ++p) {
      const float a = bias[2 * p], b = bias[2 * p + 1];
      row[2 * p] += a * cosine[p] - b * sine[p];
      row[2 * p + 1] += a * sine[p] + b * cosine[p];
    }
  }
  for (int64_t d = 2 * n; d < width_; ++d) row[d] += bias[d];
}

void KeyBias::Add(const float* bias, int64_t begin, int64_t count, int64_t stride, float* scratch,
                  float* rows) const {
  float* const turned = scratch;
  float* const angles = scratch + width_;
  for (int64_t i = 0; i < count;) {
    const int64_t turn = (begin + i) % kTurns;
    const int64_t here = std::min(count - i, kTurns - turn);
    rope_.Angles(begin + i - turn, nullptr, angles);
    rope_.Rotate(bias, width_, angles, turned);
    for (int64_t r = 0; r < here; ++r) AddTurned(turned, turn + r, rows + (i + r) * stride);
    i += here;
  }
}

}  // namespace renga::cpu
