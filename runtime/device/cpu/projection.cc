#include "runtime/device/cpu/projection.h"

#include <algorithm>

#include "ir/base/status.h"
#include "runtime/device/cpu/add.h"
#include "runtime/device/cpu/rms_norm.h"
#include "runtime/device/cpu/shapes.h"

namespace renga::cpu {
namespace {

const TensorRef* At(const KernelCall& call, size_t operand) {
  return operand < call.inputs.size() ? &call.inputs[operand] : nullptr;
}

}  // namespace

absl::StatusOr<Projection> Projection::Make(const StepCheck& check, const Operands& operands) {
  Projection projection;
  projection.operands_ = operands;
  RENGA_RETURN_IF_ERROR(check.InType(operands.x, {DType::kF32}, 0));
  const plan::TensorType& x = check.In(operands.x);
  RENGA_RETURN_IF_ERROR(check.OutType(0, {DType::kF32}, x.shape.size()));
  RENGA_RETURN_IF_ERROR(check.InRank(operands.weight, 2));
  const plan::TensorType& weight = check.In(operands.weight);
  RENGA_ASSIGN_OR_RETURN(projection.n_, check.ConstDim(operands.weight, 0));
  RENGA_ASSIGN_OR_RETURN(projection.product_, WeightProduct::Make(check, "weight", weight));
  const size_t last = x.shape.size() - 1;
  RENGA_RETURN_IF_ERROR(check.SameDim("x", x, last, "weight", weight.shape[1]));
  RENGA_RETURN_IF_ERROR(check.SameDim("y", check.Out(0), last, "weight", weight.shape[0]));
  for (size_t i = 0; i < last; ++i) {
    RENGA_RETURN_IF_ERROR(check.SameDim("y", check.Out(0), i, "x", x.shape[i]));
  }
  if (const plan::TensorType* bias = check.Optional(operands.bias)) {
    RENGA_RETURN_IF_ERROR(check.InType(operands.bias, {DType::kF32}, 1));
    RENGA_RETURN_IF_ERROR(check.SameDim("bias", *bias, 0, "weight", weight.shape[0]));
  }
  if (operands.norm != kNone) {
    RENGA_ASSIGN_OR_RETURN(projection.eps_,
                           CheckNorm(check, operands.norm, "norm", x.shape[last], "x", "eps"));
  }
  return projection;
}

void Projection::Run(const KernelCall& call, size_t extra_bytes,
                     absl::FunctionRef<void(std::byte* extra)> before, After after) const {
  const TensorRef& x = call.inputs[operands_.x];
  const TensorRef* bias = At(call, operands_.bias);
  const int64_t tokens = Rows(x);
  float* y = call.outputs[0].as<float>();
  const InputRows rows(x, At(call, operands_.norm), eps_, call.pool);
  const WeightProduct::Input input = product_.Convert(call.pool, tokens, rows, extra_bytes);
  before(input.extra);
  call.pool.ParallelFor(n_, WeightProduct::kRows, [&](int64_t begin, int64_t end, int worker) {
    product_.Multiply(call.inputs[operands_.weight].data, begin, end, input, 0, tokens, y, n_,
                      call.pool, worker);
    for (int64_t t = 0; bias != nullptr && bias->data != nullptr && t < tokens; ++t) {
      float* to = y + t * n_ + begin;
      Add(to, bias->as<const float>() + begin, end - begin, to);
    }
    after(input.extra, begin, end, worker);
  });
}

ScratchBytes Projection::Scratch(const ScratchCall& call, size_t extra_bytes) const {
  const int64_t tokens = Rows(call.inputs[operands_.x]);
  const bool norms = operands_.norm < call.inputs.size() && call.inputs[operands_.norm].rank > 0;
  return {std::max(product_.WorkerScratch(tokens), norms ? InputRows::Scratch(product_.k()) : 0),
          product_.InputScratch(tokens, extra_bytes)};
}

void Projection::Run(const KernelCall& call) const {
  Run(
      call, 0, [](std::byte*) {}, [](std::byte*, int64_t, int64_t, int) {});
}

}  // namespace renga::cpu
