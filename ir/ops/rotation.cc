#include "ir/ops/rotation.h"

#include <algorithm>
#include <cmath>

#include "ir/base/status.h"

namespace renga {
namespace {

// 1 for the fast pairs that keep their frequency, 0 for the slow ones that are interpolated. c(r)
// is the pair that turns r times over the original context.
double YarnRamp(const EvalCall& call, int64_t pair) {
  const double dims = static_cast<double>(call.Int("dims"));
  const double context = static_cast<double>(call.Int("original_context"));
  const double two_pi = 6.283185307179586;
  const auto pair_of = [&](double turns) {
    return dims * std::log(context / (two_pi * turns)) / (2 * std::log(call.Float("base")));
  };
  const double low = std::max(0.0, std::floor(pair_of(call.Float("beta_fast"))));
  const double high = std::min(dims - 1, std::ceil(pair_of(call.Float("beta_slow"))));
  const double at = (static_cast<double>(pair) - low) / std::max(0.001, high - low);
  return 1 - std::clamp(at, 0.0, 1.0);
}

}  // namespace

absl::Status ExpectRotation(const InferCall& call, int64_t head_dim) {
  const int64_t dims = call.Int("dims");
  if (dims <= 0 || dims % 2 != 0 || dims > head_dim) {
    return absl::InvalidArgumentError(
        StrCat("attribute dims: expected an even number in 2..", head_dim, ", got ", dims));
  }
  RENGA_RETURN_IF_ERROR(call.ExpectPositive("base"));
  RENGA_RETURN_IF_ERROR(call.ExpectPositive("factor"));
  RENGA_RETURN_IF_ERROR(call.ExpectPositive("magnitude"));
  RENGA_RETURN_IF_ERROR(call.ExpectOneOf("pairing", {"neox", "norm"}));
  RENGA_RETURN_IF_ERROR(call.ExpectOneOf("scaling", {"none", "linear", "yarn"}));
  if (call.Name("scaling") == "yarn") {
    for (std::string_view attr : {"beta_fast", "beta_slow", "original_context"}) {
      RENGA_RETURN_IF_ERROR(call.ExpectAttr(attr, "scaling is yarn"));
      RENGA_RETURN_IF_ERROR(call.ExpectPositive(attr));
    }
  }
  return absl::OkStatus();
}

Rotation RotationOf(const EvalCall& call, const std::vector<float>& factors) {
  Rotation rotation;
  rotation.neox = call.Name("pairing") == "neox";
  rotation.magnitude = call.Float("magnitude");
  const int64_t dims = call.Int("dims");
  for (int64_t p = 0; p < dims / 2; ++p) {
    double frequency = std::pow(call.Float("base"), -2.0 * static_cast<double>(p) / dims);
    if (!factors.empty()) frequency /= factors[p];
    if (call.Name("scaling") == "linear") frequency /= call.Float("factor");
    if (call.Name("scaling") == "yarn") {
      const double ramp = YarnRamp(call, p);
      frequency *= ramp + (1 - ramp) / call.Float("factor");
    }
    rotation.frequency.push_back(frequency);
  }
  return rotation;
}

}  // namespace renga
