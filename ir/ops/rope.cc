// rope(x, positions, factors=) {base, dims, pairing, scaling, factor, magnitude, ...}: turns every
// head of x[t] by positions[t], as ir/ops/rotation.h says.
#include <cmath>

#include "ir/base/status.h"
#include "ir/core/eval.h"
#include "ir/core/infer.h"
#include "ir/ops/ops.h"
#include "ir/ops/rotation.h"

namespace renga {

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
      RENGA_RETURN_IF_ERROR(ExpectRotation(call, head_dim));
      if (call.has(2)) {
        RENGA_RETURN_IF_ERROR(call.ExpectType(2, {DType::kF32, {call.Int("dims") / 2}}));
      }
      return std::vector<TensorType>{call.type(0)};
    },
    .evaluate = [](EvalCall& call) -> absl::Status {
      const HostTensor& x = call.in(0);
      const HostTensor& positions = call.in(1);
      const Rotation rotation =
          RotationOf(call, call.has(2) ? call.Vector(2) : std::vector<float>());
      HostTensor& y = call.out(0);
      const int64_t heads = x.shape[1], head_dim = x.shape[2];
      y.f = x.f;
      for (int64_t p = 0; p < rotation.pairs(); ++p) {
        const int64_t first = rotation.First(p), second = rotation.Second(p);
        for (int64_t t = 0; t < x.shape[0]; ++t) {
          const double angle = positions.i[t] * rotation.frequency[p];
          const double c = std::cos(angle) * rotation.magnitude;
          const double s = std::sin(angle) * rotation.magnitude;
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
