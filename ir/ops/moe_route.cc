// moe_route(scores) {normalise, used}: which experts a token goes to, and with what weight
//   p = softmax(scores[t,:]);  experts[t,:] = the `used` largest p, largest first, ties to the
//   lower id weights[t,u] = p[experts[t,u]], with normalise divided by max(their
//   sum, 6.103515625e-5)
// (Shazeer et al., 2017; Jiang et al., "Mixtral of experts", 2024.)
#include <algorithm>
#include <cmath>
#include <numeric>

#include "ir/base/status.h"
#include "ir/core/eval.h"
#include "ir/core/infer.h"
#include "ir/ops/ops.h"

namespace renga {

const OpDef kMoeRoute = {
    .name = "moe_route",
    .formula = "experts[t,:], weights[t,:] = the used largest of softmax(scores[t,:])",
    .operands = {{"scores"}},
    .attrs = {{"normalise", AttrType::kBool}, {"used", AttrType::kInt}},
    .results = 2,
    .infer = [](const InferCall& call) -> absl::StatusOr<std::vector<TensorType>> {
      RENGA_RETURN_IF_ERROR(call.ExpectPlain(0));
      RENGA_RETURN_IF_ERROR(call.ExpectRank(0, 2));
      RENGA_ASSIGN_OR_RETURN(const int64_t experts, call.ConstDim(0, 1));
      const int64_t used = call.Int("used");
      if (used < 1 || used > experts) {
        return absl::InvalidArgumentError(
            StrCat("attribute used: expected 1..", experts, ", got ", used));
      }
      const std::vector<Dim> shape = {call.type(0).shape[0], used};
      return std::vector<TensorType>{{DType::kI32, shape}, {DType::kF32, shape}};
    },
    .evaluate = [](EvalCall& call) -> absl::Status {
      const HostTensor& scores = call.in(0);
      const int64_t experts = scores.shape[1], used = call.Int("used");
      for (int64_t t = 0; t < scores.shape[0]; ++t) {
        const float* in = scores.f.data() + t * experts;
        const double max = *std::max_element(in, in + experts);
        std::vector<double> p(experts);
        double sum = 0;
        for (int64_t x = 0; x < experts; ++x) sum += p[x] = std::exp(in[x] - max);
        for (double& value : p) value /= sum;
        std::vector<int32_t> order(experts);
        std::iota(order.begin(), order.end(), 0);
        std::stable_sort(order.begin(), order.end(),
                         [&](int32_t a, int32_t b) { return p[a] > p[b]; });
        double total = 1;
        if (call.Bool("normalise")) {
          total = 0;
          for (int64_t u = 0; u < used; ++u) total += p[order[u]];
          total = std::max(total, 0x1p-14);  // the smallest normal half, as llama.cpp has it
        }
        for (int64_t u = 0; u < used; ++u) {
          call.out(0).i[t * used + u] = order[u];
          call.out(1).f[t * used + u] = static_cast<float>(p[order[u]] / total);
        }
      }
      return absl::OkStatus();
    },
};

}  // namespace renga
