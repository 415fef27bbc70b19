// gate_up: y = activation(W_gate h + b_gate) * (W_up h + b_up), h = rms_norm(x) where there is a
// norm.
#include <algorithm>

#include "ir/base/status.h"
#include "ir/base/strings.h"
#include "runtime/device/cpu/add.h"
#include "runtime/device/cpu/glu.h"
#include "runtime/device/cpu/kernels.h"
#include "runtime/device/cpu/rms_norm.h"
#include "runtime/device/cpu/shapes.h"
#include "runtime/device/cpu/weight_product.h"

namespace renga::cpu {
namespace {

// Results of `up` that are computed before they are used: they stay in a first level cache.
constexpr int64_t kUpResults = 8192;

struct GateUp {
  WeightProduct gate, up;
  double eps = 0;
  bool silu = true;
  bool one_form = true;  // both take the activations in the same form
  int64_t n = 0;

  void Run(const KernelCall& call) const;
  ScratchBytes Scratch(const ScratchCall& call) const;
};

// Rows of `up` that a worker computes at once.
int64_t UpRows(int64_t tokens) {
  constexpr int64_t kGrain = WeightProduct::kRows;
  return std::max(kGrain, kUpResults / tokens / kGrain * kGrain);
}

// Of a worker's results.
size_t UpBytes(int64_t tokens) {
  return static_cast<size_t>(tokens * UpRows(tokens)) * sizeof(float);
}

ScratchBytes GateUp::Scratch(const ScratchCall& call) const {
  const int64_t tokens = Rows(call.inputs[0]);
  const bool norms = call.inputs.size() > 3 && call.inputs[3].rank > 0;
  const size_t extra = UpBytes(tokens) * static_cast<size_t>(call.threads);
  ScratchBytes bytes{norms ? InputRows::Scratch(gate.k()) : 0, 0};
  bytes.Include({gate.WorkerScratch(tokens), gate.InputScratch(tokens, one_form ? extra : 0)});
  bytes.Include({up.WorkerScratch(tokens), one_form ? 0 : up.InputScratch(tokens, extra)});
  return bytes;
}

// y[t * stride + r] += bias[r]
void AddBias(const TensorRef* bias, int64_t begin, int64_t end, int64_t tokens, int64_t stride,
             float* y) {
  if (bias == nullptr || bias->data == nullptr) return;
  for (int64_t t = 0; t < tokens; ++t) {
    float* to = y + t * stride;
    Add(to + begin, bias->as<const float>() + begin, end - begin, to + begin);
  }
}

void GateUp::Run(const KernelCall& call) const {
  const TensorRef& x = call.inputs[0];
  const int64_t tokens = Rows(x);
  const auto optional = [&](size_t i) {
    return i < call.inputs.size() ? &call.inputs[i] : nullptr;
  };
  const InputRows row(x, optional(3), eps, call.pool);
  float* y = call.outputs[0].as<float>();
  const int64_t up_rows = UpRows(tokens);
  const size_t part = UpBytes(tokens);
  const size_t extra = part * call.pool.threads();
  WeightProduct::Input input = gate.Convert(call.pool, tokens, row, one_form ? extra : 0);
  const auto gate_rows = [&](int64_t begin, int64_t end, int worker) {
    gate.Multiply(call.inputs[1].data, begin, end, input, 0, tokens, y, n, call.pool, worker);
    AddBias(optional(4), begin, end, tokens, n, y);
  };
  if (!one_form) {
    call.pool.ParallelFor(n, WeightProduct::kRows, gate_rows);
    input = up.Convert(call.pool, tokens, row, extra);
  }
  call.pool.ParallelFor(n, WeightProduct::kRows, [&](int64_t first, int64_t last, int worker) {
    float* ups = reinterpret_cast<float*>(input.extra + part * worker);  // [tokens, up_rows]
    for (int64_t begin = first; begin < last; begin += up_rows) {
      const int64_t end = std::min(begin + up_rows, last);
      if (one_form) gate_rows(begin, end, worker);
      // Row `begin` comes first in `ups`.
      up.Multiply(up.Row(call.inputs[2].data, begin), 0, end - begin, input, 0, tokens, ups,
                  up_rows, call.pool, worker);
      for (int64_t t = 0; t < tokens; ++t) {
        float* to = y + t * n + begin;
        float* from = ups + t * up_rows;
        if (const TensorRef* add = optional(5); add != nullptr && add->data != nullptr) {
          Add(from, add->as<const float>() + begin, end - begin, from);
        }
        Glu(silu, to, from, end - begin, to);
      }
    }
  });
}

absl::StatusOr<WeightProduct> CheckWeight(const StepCheck& check, size_t weight, size_t bias,
                                          std::string_view name) {
  RENGA_RETURN_IF_ERROR(check.InRank(weight, 2));
  RENGA_RETURN_IF_ERROR(check.ConstDim(weight, 0).status());
  const plan::TensorType& type = check.In(weight);
  const plan::TensorType& x = check.In(0);
  RENGA_RETURN_IF_ERROR(check.SameDim("x", x, x.shape.size() - 1, name, type.shape[1]));
  RENGA_RETURN_IF_ERROR(check.SameDim("y", check.Out(0), x.shape.size() - 1, name, type.shape[0]));
  if (const plan::TensorType* add = check.Optional(bias)) {
    RENGA_RETURN_IF_ERROR(check.InType(bias, {DType::kF32}, 1));
    RENGA_RETURN_IF_ERROR(check.SameDim(StrCat(name, "_bias"), *add, 0, name, type.shape[0]));
  }
  return WeightProduct::Make(check, name, type);
}

absl::StatusOr<PreparedKernel> Prepare(const StepSignature& step) {
  const StepCheck check(step, {"x", "gate", "up", "norm", "gate_bias", "up_bias"}, {"y"});
  RENGA_RETURN_IF_ERROR(check.Counts(3));
  RENGA_RETURN_IF_ERROR(check.OnlyAttrs({"activation", "eps"}));
  GateUp op;
  RENGA_ASSIGN_OR_RETURN(op.silu, IsSilu(check));
  RENGA_RETURN_IF_ERROR(check.InType(0, {DType::kF32}, 0));
  const plan::TensorType& x = check.In(0);
  RENGA_RETURN_IF_ERROR(check.OutType(0, {DType::kF32}, x.shape.size()));
  for (size_t i = 0; i + 1 < x.shape.size(); ++i) {
    RENGA_RETURN_IF_ERROR(check.SameDim("y", check.Out(0), i, "x", x.shape[i]));
  }
  RENGA_ASSIGN_OR_RETURN(op.gate, CheckWeight(check, 1, 4, "gate"));
  RENGA_ASSIGN_OR_RETURN(op.up, CheckWeight(check, 2, 5, "up"));
  RENGA_ASSIGN_OR_RETURN(op.eps, CheckNorm(check, 3, "norm", x.shape.back(), "x", "eps"));
  op.one_form = op.gate.SameInput(op.up);
  op.n = check.In(1).shape[0].value;
  return PreparedKernel([op](const KernelCall& call) { op.Run(call); },
                        [op](const ScratchCall& call) { return op.Scratch(call); });
}

}  // namespace

const KernelDef kGateUp = {"gate_up", Prepare};

}  // namespace renga::cpu
