// linear(x, @weight, bias=):  y[..,n] = sum_k weight[n,k] x[..,k] + bias[n]
// The logical product: how the weight is stored or transposed exists only below lowering.
#include "ir/base/status.h"
#include "ir/core/dot_rows.h"
#include "ir/core/eval.h"
#include "ir/core/infer.h"
#include "ir/ops/ops.h"

namespace renga {

const OpDef kLinear = {
    .name = "linear",
    .formula = "y[..,n] = sum_k weight[n,k] x[..,k] + bias[n]",
    .operands = {{"x"},
                 {"weight", /*weight=*/true, false, /*product=*/true},
                 {"bias", false, /*optional=*/true}},
    .row_wise = true,
    .infer = [](const InferCall& call) -> absl::StatusOr<std::vector<TensorType>> {
      RENGA_RETURN_IF_ERROR(call.ExpectPlain(0));
      RENGA_RETURN_IF_ERROR(call.ExpectRank(1, 2));
      RENGA_RETURN_IF_ERROR(call.ExpectDim(1, 1, call.type(0).shape.back()));
      const Dim rows = call.type(1).shape[0];
      if (call.has(2)) {
        RENGA_RETURN_IF_ERROR(call.ExpectPlain(2));
        RENGA_RETURN_IF_ERROR(call.ExpectShape(2, {rows}));
      }
      TensorType y = call.type(0);
      y.shape.back() = rows;
      return std::vector<TensorType>{y};
    },
    .evaluate = [](EvalCall& call) -> absl::Status {
      const HostTensor& x = call.in(0);
      const WeightRows& weight = call.weight(1);
      const std::vector<float> bias = call.has(2) ? call.Vector(2) : std::vector<float>();
      HostTensor& y = call.out(0);
      const int64_t rows = weight.shape[0], width = weight.shape[1];
      const int64_t tokens = x.elements() / width;
      const std::vector<double> in(x.f.begin(), x.f.end());
      // Chunks of rows, so that a row is dequantised once for all tokens.
      constexpr int64_t kChunk = 16;
      call.Parallel((rows + kChunk - 1) / kChunk, [&](int64_t chunk) {
        std::vector<float> stored(width);
        std::vector<double> sums(tokens);
        for (int64_t n = chunk * kChunk; n < std::min(rows, (chunk + 1) * kChunk); ++n) {
          weight.read(n, stored.data());
          const std::vector<double> row(stored.begin(), stored.end());
          DotRows(row.data(), in.data(), tokens, width, sums.data());
          for (int64_t t = 0; t < tokens; ++t) {
            const double sum = bias.empty() ? sums[t] : sums[t] + bias[n];
            y.f[t * rows + n] = RoundTo(y.dtype, static_cast<float>(sum));
          }
        }
      });
      return absl::OkStatus();
    },
};

}  // namespace renga
