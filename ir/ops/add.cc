// add(a, b):  y[..] = a[..] + b[..], equal shapes
#include "ir/base/status.h"
#include "ir/core/eval.h"
#include "ir/core/infer.h"
#include "ir/ops/ops.h"

namespace renga {

const OpDef kAdd = {
    .name = "add",
    .formula = "y[..] = a[..] + b[..]",
    .operands = {{"a"}, {"b"}},
    .row_wise = true,
    .infer = [](const InferCall& call) -> absl::StatusOr<std::vector<TensorType>> {
      RENGA_RETURN_IF_ERROR(call.ExpectPlain(0));
      RENGA_RETURN_IF_ERROR(call.ExpectType(1, call.type(0)));
      return std::vector<TensorType>{call.type(0)};
    },
    .evaluate = [](EvalCall& call) -> absl::Status {
      const HostTensor& a = call.in(0);
      const HostTensor& b = call.in(1);
      HostTensor& y = call.out(0);
      for (int64_t i = 0; i < y.elements(); ++i) y.f[i] = RoundTo(y.dtype, a.f[i] + b.f[i]);
      return absl::OkStatus();
    },
};

}  // namespace renga
