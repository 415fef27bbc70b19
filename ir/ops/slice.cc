// slice(x) {size, start}:  y[..,i] = x[..,start + i],  i in 0..size-1 of the last axis
// Cuts fused projections apart and padded vocabulary rows off.
#include "ir/base/status.h"
#include "ir/core/eval.h"
#include "ir/core/infer.h"
#include "ir/ops/ops.h"

namespace renga {

const OpDef kSlice = {
    .name = "slice",
    .formula = "y[..,i] = x[..,start + i]",
    .operands = {{"x"}},
    .attrs = {{"size", AttrType::kInt}, {"start", AttrType::kInt}},
    .row_wise = true,
    .infer = [](const InferCall& call) -> absl::StatusOr<std::vector<TensorType>> {
      RENGA_RETURN_IF_ERROR(call.ExpectPlain(0));
      RENGA_ASSIGN_OR_RETURN(const int64_t width, call.ConstDim(0, -1));
      const int64_t start = call.Int("start"), size = call.Int("size");
      if (start < 0 || size < 1 || start > width || size > width - start) {
        return absl::InvalidArgumentError(
            StrCat("attributes start, size: expected a range inside 0..", width, ", got ", start,
                   " and ", size));
      }
      TensorType y = call.type(0);
      y.shape.back() = size;
      return std::vector<TensorType>{y};
    },
    .evaluate = [](EvalCall& call) -> absl::Status {
      const HostTensor& x = call.in(0);
      HostTensor& y = call.out(0);
      const int64_t width = x.shape.back(), size = y.shape.back();
      for (int64_t row = 0; row < x.elements() / width; ++row) {
        std::copy_n(x.f.begin() + row * width + call.Int("start"), size, y.f.begin() + row * size);
      }
      return absl::OkStatus();
    },
};

}  // namespace renga
