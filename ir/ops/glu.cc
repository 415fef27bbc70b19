// glu(gate, up) {activation}:  y[..] = activation(gate[..]) * up[..]  (Shazeer, "GLU variants",
// 2020)
//   silu(x) = x / (1 + e^-x)
//   gelu_tanh(x) = 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))
#include <cmath>

#include "ir/base/status.h"
#include "ir/core/eval.h"
#include "ir/core/infer.h"
#include "ir/ops/ops.h"

namespace renga {
namespace {

double Silu(double x) { return x / (1 + std::exp(-x)); }

double GeluTanh(double x) {
  return 0.5 * x * (1 + std::tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
}

}  // namespace

const OpDef kGlu = {
    .name = "glu",
    .formula = "y[..] = activation(gate[..]) * up[..]",
    .operands = {{"gate"}, {"up"}},
    .attrs = {{"activation", AttrType::kName}},
    .row_wise = true,
    .infer = [](const InferCall& call) -> absl::StatusOr<std::vector<TensorType>> {
      RENGA_RETURN_IF_ERROR(call.ExpectPlain(0));
      RENGA_RETURN_IF_ERROR(call.ExpectType(1, call.type(0)));
      RENGA_RETURN_IF_ERROR(call.ExpectOneOf("activation", {"silu", "gelu_tanh"}));
      return std::vector<TensorType>{call.type(0)};
    },
    .evaluate = [](EvalCall& call) -> absl::Status {
      const HostTensor& gate = call.in(0);
      const HostTensor& up = call.in(1);
      HostTensor& y = call.out(0);
      double (*const activation)(double) = call.Name("activation") == "silu" ? Silu : GeluTanh;
      for (int64_t i = 0; i < y.elements(); ++i) {
        y.f[i] = RoundTo(y.dtype, static_cast<float>(activation(gate.f[i]) * up.f[i]));
      }
      return absl::OkStatus();
    },
};

}  // namespace renga
