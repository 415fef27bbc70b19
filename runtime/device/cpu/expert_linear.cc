// expert_linear: each token times the matrices of the experts it was routed to.
#include <algorithm>
#include <numeric>

#include "ir/base/status.h"
#include "ir/base/strings.h"
#include "runtime/device/cpu/kernels.h"
#include "runtime/device/cpu/shapes.h"
#include "runtime/device/cpu/weight_product.h"

namespace renga::cpu {
namespace {

size_t OrderBytes(int64_t pairs, int64_t matrices) {
  return static_cast<size_t>(pairs + matrices + 1) * sizeof(int32_t);
}

// Behind the converted activations.
size_t ExtraBytes(int64_t pairs, int64_t n) {
  return static_cast<size_t>(pairs * n) * sizeof(float) +
         static_cast<size_t>(pairs) * sizeof(int32_t);
}

// y[pair] = weight[experts[pair]] x[pair or its token]; pair = t * U + u.
void Run(const WeightProduct& product, int64_t n, bool shared_x, const KernelCall& call) {
  const TensorRef& experts = call.inputs[2];
  const int64_t used = experts.dims[1], pairs = experts.dims[0] * used;
  const int64_t matrices = call.inputs[1].dims[0], k = product.k();
  const int32_t* expert = experts.as<const int32_t>();
  const float* x = call.inputs[0].as<const float>();
  float* y = call.outputs[0].as<float>();

  // Pairs of one expert are multiplied together, so that its rows are unpacked once. The order lies
  // behind the converted activations, and behind it their results before they go to their places.
  const size_t order_at = static_cast<size_t>(pairs * n) * sizeof(float);
  int32_t* order = reinterpret_cast<int32_t*>(call.pool.Scratch(0, OrderBytes(pairs, matrices)));
  int32_t* starts = order + pairs;
  std::fill_n(starts, matrices + 1, 0);
  for (int64_t i = 0; i < pairs; ++i) ++starts[expert[i] + 1];
  std::partial_sum(starts, starts + matrices + 1, starts);
  for (int64_t i = 0; i < pairs; ++i) order[starts[expert[i]]++] = static_cast<int32_t>(i);

  const WeightProduct::Input input = product.Convert(
      call.pool, pairs,
      [&](int64_t i, int) { return x + (shared_x ? order[i] / used : order[i]) * k; },
      ExtraBytes(pairs, n));
  float* results = reinterpret_cast<float*>(input.extra);
  int32_t* sorted = reinterpret_cast<int32_t*>(input.extra + order_at);
  std::copy_n(order, pairs, sorted);  // the workers' scratch is about to be used

  call.pool.ParallelFor(n, WeightProduct::kRows, [&](int64_t begin, int64_t end, int worker) {
    for (int64_t first = 0; first < pairs;) {
      const int64_t matrix = expert[sorted[first]];
      int64_t last = first + 1;
      while (last < pairs && expert[sorted[last]] == matrix) ++last;
      product.Multiply(product.Matrix(call.inputs[1].data, matrix), begin, end, input, first,
                       last - first, results + first * n, n, call.pool, worker);
      for (int64_t i = first; i < last; ++i) {
        std::copy(results + i * n + begin, results + i * n + end, y + sorted[i] * n + begin);
      }
      first = last;
    }
  });
}

absl::StatusOr<PreparedKernel> Prepare(const StepSignature& step) {
  const StepCheck check(step, {"x", "weight", "experts"}, {"y"});
  RENGA_RETURN_IF_ERROR(check.Counts(3));
  RENGA_RETURN_IF_ERROR(check.OnlyAttrs({}));
  const plan::TensorType& x = check.In(0);
  RENGA_RETURN_IF_ERROR(check.InType(0, {DType::kF32}, x.shape.size() == 2 ? 2 : 3));
  RENGA_RETURN_IF_ERROR(check.InRank(1, 3));
  RENGA_RETURN_IF_ERROR(check.InType(2, {DType::kI32}, 2));
  RENGA_RETURN_IF_ERROR(check.OutType(0, {DType::kF32}, 3));
  RENGA_RETURN_IF_ERROR(check.ConstDim(1, 0).status());
  RENGA_ASSIGN_OR_RETURN(const int64_t n, check.ConstDim(1, 1));
  const plan::TensorType& weight = check.In(1);
  RENGA_ASSIGN_OR_RETURN(const WeightProduct product, WeightProduct::Make(check, "weight", weight));
  const plan::TensorType& experts = check.In(2);
  RENGA_RETURN_IF_ERROR(check.SameDim("experts", experts, 0, "x", x.shape[0]));
  RENGA_RETURN_IF_ERROR(check.SameDim("x", x, x.shape.size() - 1, "weight", weight.shape[2]));
  if (x.shape.size() == 3) {
    RENGA_RETURN_IF_ERROR(check.SameDim("x", x, 1, "experts", experts.shape[1]));
  }
  const plan::TensorType& y = check.Out(0);
  RENGA_RETURN_IF_ERROR(check.SameDim("y", y, 0, "x", x.shape[0]));
  RENGA_RETURN_IF_ERROR(check.SameDim("y", y, 1, "experts", experts.shape[1]));
  RENGA_RETURN_IF_ERROR(check.SameDim("y", y, 2, "weight", weight.shape[1]));
  return PreparedKernel(
      [product, n, shared_x = x.shape.size() == 2](const KernelCall& call) {
        Run(product, n, shared_x, call);
      },
      [product, n](const ScratchCall& call) {
        const int64_t pairs = call.inputs[2].dims[0] * call.inputs[2].dims[1];
        // An expert has one pair to all of them.
        return ScratchBytes{std::max({OrderBytes(pairs, call.inputs[1].dims[0]),
                                      product.WorkerScratch(1), product.WorkerScratch(pairs)}),
                            product.InputScratch(pairs, ExtraBytes(pairs, n))};
      });
}

}  // namespace

const KernelDef kExpertLinear = {"expert_linear", Prepare};

}  // namespace renga::cpu
