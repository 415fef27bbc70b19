// expert_sum(x, weights):  y[t,n] = sum_u weights[t,u] x[t,u,n]
#include "ir/base/status.h"
#include "ir/core/eval.h"
#include "ir/core/infer.h"
#include "ir/ops/ops.h"

namespace renga {

const OpDef kExpertSum = {
    .name = "expert_sum",
    .formula = "y[t,n] = sum_u weights[t,u] x[t,u,n]",
    .operands = {{"x"}, {"weights"}},
    .row_wise = true,
    .infer = [](const InferCall& call) -> absl::StatusOr<std::vector<TensorType>> {
      RENGA_RETURN_IF_ERROR(call.ExpectPlain(0));
      RENGA_RETURN_IF_ERROR(call.ExpectRank(0, 3));
      const TensorType& x = call.type(0);
      RENGA_RETURN_IF_ERROR(call.ExpectType(1, {DType::kF32, {x.shape[0], x.shape[1]}}));
      return std::vector<TensorType>{{x.dtype, {x.shape[0], x.shape[2]}}};
    },
    .evaluate = [](EvalCall& call) -> absl::Status {
      const HostTensor& x = call.in(0);
      const HostTensor& weights = call.in(1);
      HostTensor& y = call.out(0);
      const int64_t used = x.shape[1], width = x.shape[2];
      for (int64_t t = 0; t < x.shape[0]; ++t) {
        for (int64_t n = 0; n < width; ++n) {
          double sum = 0;
          for (int64_t u = 0; u < used; ++u) {
            sum += double{weights.f[t * used + u]} * x.f[(t * used + u) * width + n];
          }
          y.f[t * width + n] = RoundTo(y.dtype, static_cast<float>(sum));
        }
      }
      return absl::OkStatus();
    },
};

}  // namespace renga
