// masked_softmax(s, positions, sinks=) {causal, window}:
//   p[t,h,j] = e^(s[t,h,j] - m) / (sum_i e^(s[t,h,i] - m) + e^(sinks[h] - m)) over the visible
//   keys, 0 for the others. Key j is visible iff (not causal or j <= positions[t]) and (window = 0
//   or positions[t] - j < window). A sink takes part in the sum and has no value.
#include <cmath>
#include <limits>

#include "ir/base/status.h"
#include "ir/core/eval.h"
#include "ir/core/infer.h"
#include "ir/ops/ops.h"

namespace renga {

const OpDef kMaskedSoftmax = {
    .name = "masked_softmax",
    .formula = "p[t,h,j] = softmax over the visible j of s[t,h,j] (and the sink)",
    .operands = {{"s"}, {"positions"}, {"sinks", false, /*optional=*/true}},
    .attrs = {{"causal", AttrType::kBool}, {"window", AttrType::kInt}},
    .row_wise = true,
    .infer = [](const InferCall& call) -> absl::StatusOr<std::vector<TensorType>> {
      RENGA_RETURN_IF_ERROR(call.ExpectPlain(0));
      RENGA_RETURN_IF_ERROR(call.ExpectRank(0, 3));
      RENGA_RETURN_IF_ERROR(call.ExpectType(1, {DType::kI32, {call.type(0).shape[0]}}));
      if (call.has(2)) {
        RENGA_RETURN_IF_ERROR(call.ExpectPlain(2));
        RENGA_RETURN_IF_ERROR(call.ExpectShape(2, {call.type(0).shape[1]}));
      }
      if (call.Int("window") < 0) {
        return absl::InvalidArgumentError(
            StrCat("attribute window: expected 0 (none) or more, got ", call.Int("window")));
      }
      return std::vector<TensorType>{call.type(0)};
    },
    .evaluate = [](EvalCall& call) -> absl::Status {
      const HostTensor& s = call.in(0);
      const HostTensor& positions = call.in(1);
      const std::vector<float> sinks = call.has(2) ? call.Vector(2) : std::vector<float>();
      HostTensor& p = call.out(0);
      const bool causal = call.Bool("causal");
      const int64_t window = call.Int("window");
      const int64_t heads = s.shape[1], span = s.shape[2];
      call.Parallel(s.shape[0], [&](int64_t t) {
        const auto visible = [&](int64_t j) {
          return (!causal || j <= positions.i[t]) && (window == 0 || positions.i[t] - j < window);
        };
        for (int64_t h = 0; h < heads; ++h) {
          const float* in = s.f.data() + (t * heads + h) * span;
          float* out = p.f.data() + (t * heads + h) * span;
          double max = sinks.empty() ? -std::numeric_limits<double>::infinity() : sinks[h];
          for (int64_t j = 0; j < span; ++j) {
            if (visible(j)) max = std::max(max, double{in[j]});
          }
          double sum = sinks.empty() ? 0 : std::exp(sinks[h] - max);
          for (int64_t j = 0; j < span; ++j) {
            if (visible(j)) sum += std::exp(in[j] - max);
          }
          for (int64_t j = 0; j < span; ++j) {
            out[j] =
                visible(j) ? RoundTo(p.dtype, static_cast<float>(std::exp(in[j] - max) / sum)) : 0;
          }
        }
      });
      return absl::OkStatus();
    },
};

}  // namespace renga
