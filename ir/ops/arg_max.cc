// arg_max(x):  y[..] = the lowest i with x[..,i] = max_j x[..,j], over the last axis
// -1 where no choice is to be trusted: an x[..,i] is NaN or +infinity, or all are -infinity.
#include <cmath>
#include <limits>

#include "ir/base/status.h"
#include "ir/core/eval.h"
#include "ir/core/infer.h"
#include "ir/ops/ops.h"

namespace renga {

const OpDef kArgMax = {
    .name = "arg_max",
    .formula = "y[..] = the lowest i with x[..,i] = max_j x[..,j]; -1 where one is NaN or inf",
    .operands = {{"x"}},
    .row_wise = true,
    .infer = [](const InferCall& call) -> absl::StatusOr<std::vector<TensorType>> {
      RENGA_RETURN_IF_ERROR(call.ExpectPlain(0));
      RENGA_RETURN_IF_ERROR(call.ConstDim(0, -1).status());
      TensorType y = {DType::kI32, call.type(0).shape};
      if (y.rank() < 2) return call.OperandError(0, "at least two axes");
      y.shape.pop_back();
      return std::vector<TensorType>{y};
    },
    .evaluate = [](EvalCall& call) -> absl::Status {
      constexpr float kInfinity = std::numeric_limits<float>::infinity();
      const HostTensor& x = call.in(0);
      HostTensor& y = call.out(0);
      const int64_t width = x.shape.back();
      for (int64_t row = 0; row < y.elements(); ++row) {
        int32_t best = -1;
        float largest = -kInfinity;
        for (int64_t i = 0; i < width; ++i) {
          const float value = x.f[row * width + i];
          if (std::isnan(value) || value == kInfinity) {
            best = -1;
            break;
          }
          if (value > largest) {
            largest = value;
            best = static_cast<int32_t>(i);
          }
        }
        y.i[row] = best;
      }
      return absl::OkStatus();
    },
};

}  // namespace renga
