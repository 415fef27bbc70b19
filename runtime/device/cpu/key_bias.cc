#include "runtime/device/cpu/key_bias.h"

#include <algorithm>
#include <limits>

#include "ir/base/status.h"
#include "ir/base/strings.h"
#include "runtime/device/cpu/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/device/cpu/key_bias.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "runtime/device/cpu/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace renga::cpu::HWY_NAMESPACE {

// rows[r][d] += x[d] cosine[r][d] + partner[d] sine[r][d] for r < count; everything is `stride`
// numbers wide, the cosines of a turn and its sines follow each other.
void AddTurns(const float* x, const float* partner, const float* turns, int64_t count,
              int64_t stride, float* HWY_RESTRICT rows) {
  const DF df;
  for (int64_t r = 0; r < count; ++r, turns += 2 * stride, rows += stride) {
    for (int64_t d = 0; d < stride; d += kF) {
      const VF sum =
          hn::MulAdd(hn::LoadU(df, x + d), hn::LoadU(df, turns + d), hn::LoadU(df, rows + d));
      hn::StoreU(hn::MulAdd(hn::LoadU(df, partner + d), hn::LoadU(df, turns + stride + d), sum), df,
                 rows + d);
    }
  }
}

}  // namespace renga::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace renga::cpu {

HWY_EXPORT(AddTurns);

int64_t KeyBias::Partner(int64_t d) const {
  const int64_t pairs = rope_.pairs();
  if (d >= 2 * pairs) return d;
  if (rope_.neox) return d < pairs ? d + pairs : d - pairs;
  return d % 2 == 0 ? d + 1 : d - 1;
}

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
  constexpr int64_t kMaxWidth = 65536;  // tables of that many are kept; no model comes near
  if (width.value > kMaxWidth) {
    return check.Error(StrCat("k_cache has shape ", check.ShapeText(cache),
                              ", expected no more than ", kMaxWidth, " at axis 2 with k_bias"));
  }
  bias.width_ = width.value;
  RENGA_ASSIGN_OR_RETURN(bias.rope_, PrepareRope(check, width.value, kNoFactors));
  const int64_t pairs = bias.rope_.pairs(), stride = FloatStride(width.value);
  bias.bases_.resize(kTabled / kTurns * 2 * pairs);
  for (int64_t block = 0; block < kTabled / kTurns; ++block) {
    bias.rope_.Angles(block * kTurns, nullptr, bias.bases_.data() + block * 2 * pairs);
  }
  Rope turns = bias.rope_;
  turns.magnitude = 1;
  std::vector<float> angles(2 * pairs);
  bias.turns_.resize(kTurns * 2 * stride);
  for (int64_t r = 0; r < kTurns; ++r) {
    turns.Angles(r, nullptr, angles.data());
    float* const cosine = bias.turns_.data() + r * 2 * stride;
    float* const sine = cosine + stride;
    for (int64_t d = 0; d < width.value; ++d) {
      const int64_t partner = bias.Partner(d), pair = turns.neox ? d % pairs : d / 2;
      cosine[d] = partner == d ? 1 : angles[pair];
      sine[d] = partner == d ? 0 : d < partner ? -angles[pairs + pair] : angles[pairs + pair];
    }
  }
  return bias;
}

void KeyBias::Add(const float* bias, int64_t begin, int64_t count, float* scratch,
                  float* rows) const {
  const int64_t stride = FloatStride(width_), pairs = rope_.pairs();
  float *const turned = scratch, *const partners = scratch + stride;
  float* const computed = scratch + 2 * stride;
  std::fill_n(turned, 2 * stride, 0.0f);
  for (int64_t i = 0; i < count;) {
    const int64_t turn = (begin + i) % kTurns, base = begin + i - turn;
    const int64_t here = std::min(count - i, kTurns - turn);
    const float* angles = computed;
    if (base < kTabled) {
      angles = bases_.data() + base / kTurns * 2 * pairs;
    } else {
      rope_.Angles(base, nullptr, computed);
    }
    rope_.Rotate(bias, width_, angles, turned);
    for (int64_t d = 0; d < width_; ++d) partners[d] = turned[Partner(d)];
    HWY_DYNAMIC_DISPATCH(AddTurns)
    (turned, partners, turns_.data() + turn * 2 * stride, here, stride, rows + i * stride);
    i += here;
  }
}

}  // namespace renga::cpu
#endif
