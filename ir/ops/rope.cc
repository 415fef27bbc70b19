// rope(x, positions, factors=) {base, dims, pairing, scaling, factor, magnitude, ...}: rotary
// position embedding (Su et al., "RoFormer", 2021). Of each head the first `dims` values rotate,
// the others pass:
//   pair p of dims/2:  neox (p, p + dims/2), norm (2p, 2p+1)
//   (a, b) -> m * (a cos - b sin, a sin + b cos),  angle = position * f_p,  m = magnitude
//   f_p = base^(-2p/dims) / factors[p]
//   scaling linear: f_p / factor.  none: f_p.
//   scaling yarn (Peng et al., 2023): f_p (ramp_p + (1 - ramp_p) / factor), see YarnRamp.
#include <algorithm>
#include <cmath>

#include "ir/base/status.h"
#include "ir/core/eval.h"
#include "ir/core/infer.h"
#include "ir/ops/ops.h"

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

const OpDef kRope = {
    .name = "rope",
    .formula = "(a, b) -> magnitude * (a cos(p f) - b sin(p f), a sin(p f) + b cos(p f))",
    .operands = {{"x"}, {"positions"}, {"factors", false, /*optional=*/true}},
    .attrs = {{"base", AttrType::kFloat},
              {"beta_fast", AttrType::kFloat, /*required=*/false},
              {"beta_slow", AttrType::kFloat, /*required=*/false},
              {"dims", AttrType::kInt},
              {"factor", AttrType::kFloat},
              {"magnitude", AttrType::kFloat},
              {"original_context", AttrType::kInt, /*required=*/false},
              {"pairing", AttrType::kName},
              {"scaling", AttrType::kName}},
    .row_wise = true,
    .infer = [](const InferCall& call) -> absl::StatusOr<std::vector<TensorType>> {
      RENGA_RETURN_IF_ERROR(call.ExpectPlain(0));
      RENGA_RETURN_IF_ERROR(call.ExpectRank(0, 3));
      RENGA_RETURN_IF_ERROR(call.ExpectType(1, {DType::kI32, {call.type(0).shape[0]}}));
      RENGA_ASSIGN_OR_RETURN(const int64_t head_dim, call.ConstDim(0, 2));
      const int64_t dims = call.Int("dims");
      if (dims <= 0 || dims % 2 != 0 || dims > head_dim) {
        return absl::InvalidArgumentError(
            StrCat("attribute dims: expected an even number in 2..", head_dim, ", got ", dims));
      }
      if (call.has(2)) RENGA_RETURN_IF_ERROR(call.ExpectType(2, {DType::kF32, {dims / 2}}));
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
      return std::vector<TensorType>{call.type(0)};
    },
    .evaluate = [](EvalCall& call) -> absl::Status {
      const HostTensor& x = call.in(0);
      const HostTensor& positions = call.in(1);
      const std::vector<float> factors = call.has(2) ? call.Vector(2) : std::vector<float>();
      HostTensor& y = call.out(0);
      const int64_t heads = x.shape[1], head_dim = x.shape[2], dims = call.Int("dims");
      const bool neox = call.Name("pairing") == "neox";
      const double magnitude = call.Float("magnitude");
      y.f = x.f;
      for (int64_t p = 0; p < dims / 2; ++p) {
        double frequency = std::pow(call.Float("base"), -2.0 * static_cast<double>(p) / dims);
        if (!factors.empty()) frequency /= factors[p];
        if (call.Name("scaling") == "linear") frequency /= call.Float("factor");
        if (call.Name("scaling") == "yarn") {
          const double ramp = YarnRamp(call, p);
          frequency *= ramp + (1 - ramp) / call.Float("factor");
        }
        const int64_t first = neox ? p : 2 * p;
        const int64_t second = neox ? p + dims / 2 : 2 * p + 1;
        for (int64_t t = 0; t < x.shape[0]; ++t) {
          const double angle = positions.i[t] * frequency;
          const double c = std::cos(angle) * magnitude, s = std::sin(angle) * magnitude;
          for (int64_t h = 0; h < heads; ++h) {
            const float* in = x.f.data() + (t * heads + h) * head_dim;
            float* out = y.f.data() + (t * heads + h) * head_dim;
            const double a = in[first], b = in[second];
            out[first] = RoundTo(y.dtype, static_cast<float>(a * c - b * s));
            out[second] = RoundTo(y.dtype, static_cast<float>(a * s + b * c));
          }
        }
      }
      return absl::OkStatus();
    },
};

}  // namespace renga
