// expert_linear(x, @weight, experts):  y[t,u,n] = sum_k weight[experts[t,u],n,k] x[t,k]  (or
// x[t,u,k]) One matrix of `weight` [X,N,K] an expert; each token meets only the experts it was
// routed to.
#include "ir/base/status.h"
#include "ir/core/eval.h"
#include "ir/core/infer.h"
#include "ir/ops/ops.h"

namespace renga {

const OpDef kExpertLinear = {
    .name = "expert_linear",
    .formula = "y[t,u,n] = sum_k weight[experts[t,u],n,k] x[t,(u,)k]",
    .operands = {{"x"}, {"weight", /*weight=*/true, false, /*product=*/true}, {"experts"}},
    .infer = [](const InferCall& call) -> absl::StatusOr<std::vector<TensorType>> {
      RENGA_RETURN_IF_ERROR(call.ExpectPlain(0));
      RENGA_RETURN_IF_ERROR(call.ExpectRank(1, 3));
      RENGA_RETURN_IF_ERROR(call.ExpectDType(2, DType::kI32));
      RENGA_RETURN_IF_ERROR(call.ExpectRank(2, 2));
      const TensorType& x = call.type(0);
      RENGA_RETURN_IF_ERROR(call.ExpectDim(2, 0, x.shape[0]));
      RENGA_RETURN_IF_ERROR(call.ExpectDim(1, 2, x.shape.back()));
      if (x.rank() != 2) {
        RENGA_RETURN_IF_ERROR(call.ExpectRank(0, 3));
        RENGA_RETURN_IF_ERROR(call.ExpectDim(0, 1, call.type(2).shape[1]));
      }
      return std::vector<TensorType>{
          {DType::kF32, {x.shape[0], call.type(2).shape[1], call.type(1).shape[1]}}};
    },
    .evaluate = [](EvalCall& call) -> absl::Status {
      const HostTensor& x = call.in(0);
      const WeightRows& weight = call.weight(1);
      const HostTensor& experts = call.in(2);
      HostTensor& y = call.out(0);
      const int64_t tokens = experts.shape[0], used = experts.shape[1];
      const int64_t rows = weight.shape[1], width = weight.shape[2];
      for (int32_t expert : experts.i) {
        if (expert < 0 || expert >= weight.shape[0]) {
          return absl::OutOfRangeError(
              StrCat("experts: expected 0..", weight.shape[0] - 1, ", got ", expert));
        }
      }
      call.Parallel(rows, [&](int64_t n) {
        std::vector<float> row(width);
        for (int64_t t = 0; t < tokens; ++t) {
          for (int64_t u = 0; u < used; ++u) {
            weight.read(experts.i[t * used + u] * rows + n, row.data());
            const float* in = x.f.data() + (x.shape.size() == 2 ? t : t * used + u) * width;
            double sum = 0;
            for (int64_t k = 0; k < width; ++k) sum += double{row[k]} * in[k];
            y.f[(t * used + u) * rows + n] = static_cast<float>(sum);
          }
        }
      });
      return absl::OkStatus();
    },
};

}  // namespace renga
