// gather_rows(x, rows):  y[r,..] = x[rows[r],..]
#include "ir/base/status.h"
#include "ir/core/eval.h"
#include "ir/core/infer.h"
#include "ir/ops/ops.h"

namespace renga {

const OpDef kGatherRows = {
    .name = "gather_rows",
    .formula = "y[r,..] = x[rows[r],..]",
    .operands = {{"x"}, {"rows"}},
    .infer = [](const InferCall& call) -> absl::StatusOr<std::vector<TensorType>> {
      RENGA_RETURN_IF_ERROR(call.ExpectPlain(0));
      RENGA_RETURN_IF_ERROR(call.ExpectDType(1, DType::kI32));
      RENGA_RETURN_IF_ERROR(call.ExpectRank(1, 1));
      TensorType y = call.type(0);
      y.shape[0] = call.type(1).shape[0];
      return std::vector<TensorType>{y};
    },
    .evaluate = [](EvalCall& call) -> absl::Status {
      const HostTensor& x = call.in(0);
      const HostTensor& rows = call.in(1);
      HostTensor& y = call.out(0);
      const int64_t width = x.elements() / x.shape[0];
      for (int64_t r = 0; r < rows.elements(); ++r) {
        const int32_t row = rows.i[r];
        if (row < 0 || row >= x.shape[0]) {
          return absl::OutOfRangeError(
              StrCat("rows[", r, "]: expected 0..", x.shape[0] - 1, ", got ", row));
        }
        std::copy_n(x.f.begin() + row * width, width, y.f.begin() + r * width);
      }
      return absl::OkStatus();
    },
};

}  // namespace renga
