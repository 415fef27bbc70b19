// embed(tokens, @table):  y[t,:] = table[tokens[t],:]
#include "ir/base/status.h"
#include "ir/core/eval.h"
#include "ir/core/infer.h"
#include "ir/ops/ops.h"

namespace renga {

const OpDef kEmbed = {
    .name = "embed",
    .formula = "y[t,:] = table[tokens[t],:]",
    .operands = {{"tokens"}, {"table", /*weight=*/true}},
    .infer = [](const InferCall& call) -> absl::StatusOr<std::vector<TensorType>> {
      RENGA_RETURN_IF_ERROR(call.ExpectDType(0, DType::kI32));
      RENGA_RETURN_IF_ERROR(call.ExpectRank(0, 1));
      RENGA_RETURN_IF_ERROR(call.ExpectRank(1, 2));
      return std::vector<TensorType>{{DType::kF32, {call.type(0).shape[0], call.type(1).shape[1]}}};
    },
    .evaluate = [](EvalCall& call) -> absl::Status {
      const HostTensor& tokens = call.in(0);
      const WeightRows& table = call.weight(1);
      HostTensor& y = call.out(0);
      const int64_t width = table.shape[1];
      for (int64_t t = 0; t < tokens.elements(); ++t) {
        const int32_t token = tokens.i[t];
        if (token < 0 || token >= table.shape[0]) {
          return absl::OutOfRangeError(
              StrCat("tokens[", t, "]: expected 0..", table.shape[0] - 1, ", got ", token));
        }
        table.read(token, y.f.data() + t * width);
      }
      return absl::OkStatus();
    },
};

}  // namespace renga
