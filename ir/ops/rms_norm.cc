// rms_norm(x, weight) {eps}:  y[..,i] = x[..,i] * weight[i] / sqrt(mean_j(x[..,j]^2) + eps)
// Zhang and Sennrich, "Root Mean Square Layer Normalization" (2019).
#include <cmath>

#include "ir/base/status.h"
#include "ir/core/eval.h"
#include "ir/core/infer.h"
#include "ir/ops/ops.h"

namespace renga {

const OpDef kRmsNorm = {
    .name = "rms_norm",
    .formula = "y[..,i] = x[..,i] * weight[i] / sqrt(mean_j(x[..,j]^2) + eps)",
    .operands = {{"x"}, {"weight"}},
    .attrs = {{"eps", AttrType::kFloat}},
    .row_wise = true,
    .infer = [](const InferCall& call) -> absl::StatusOr<std::vector<TensorType>> {
      RENGA_RETURN_IF_ERROR(call.ExpectPlain(0));
      RENGA_ASSIGN_OR_RETURN(const int64_t width, call.ConstDim(0, -1));
      RENGA_RETURN_IF_ERROR(call.ExpectPlain(1));
      RENGA_RETURN_IF_ERROR(call.ExpectShape(1, {width}));
      RENGA_RETURN_IF_ERROR(call.ExpectPositive("eps"));
      return std::vector<TensorType>{call.type(0)};
    },
    .evaluate = [](EvalCall& call) -> absl::Status {
      const HostTensor& x = call.in(0);
      const std::vector<float> weight = call.Vector(1);
      HostTensor& y = call.out(0);
      const double eps = call.Float("eps");
      const int64_t width = static_cast<int64_t>(weight.size());
      for (int64_t row = 0; row < x.elements() / width; ++row) {
        const float* in = x.f.data() + row * width;
        float* out = y.f.data() + row * width;
        double sum = 0;
        for (int64_t i = 0; i < width; ++i) sum += double{in[i]} * in[i];
        const double scale = 1.0 / std::sqrt(sum / static_cast<double>(width) + eps);
        for (int64_t i = 0; i < width; ++i) {
          out[i] = RoundTo(y.dtype, static_cast<float>(in[i] * scale * weight[i]));
        }
      }
      return absl::OkStatus();
    },
};

}  // namespace renga
