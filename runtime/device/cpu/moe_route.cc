// moe_route: the experts a token goes to and their weights. Rows are short; double throughout.
#include <algorithm>
#include <cmath>

#include "ir/base/status.h"
#include "ir/base/strings.h"
#include "runtime/device/cpu/kernels.h"
#include "runtime/device/cpu/shapes.h"
#include "runtime/device/cpu/step_check.h"

namespace renga::cpu {
namespace {

// `p` is room for `count` numbers.
void Route(const float* scores, int64_t count, int64_t used, bool normalise, double* p,
           int32_t* experts, float* weights) {
  const double max = *std::max_element(scores, scores + count);
  double sum = 0;
  for (int64_t x = 0; x < count; ++x) sum += p[x] = std::exp(scores[x] - max);
  for (int64_t x = 0; x < count; ++x) p[x] /= sum;
  double chosen = 0;
  for (int64_t u = 0; u < used; ++u) {
    // The first of equals, so that ties go to the lower id; taken ones are marked below zero. A row
    // of NaN compares false with everything and yields the first ids left.
    int64_t best = -1;
    for (int64_t x = 0; x < count; ++x) {
      if (p[x] >= 0 && (best < 0 || p[x] > p[best])) best = x;
    }
    if (best < 0) best = u;
    experts[u] = static_cast<int32_t>(best);
    weights[u] = static_cast<float>(p[best]);
    chosen += p[best];
    p[best] = -1;
  }
  if (!normalise) return;
  for (int64_t u = 0; u < used; ++u) {
    weights[u] = static_cast<float>(weights[u] / std::max(chosen, 0x1p-14));
  }
}

absl::StatusOr<PreparedKernel> Prepare(const StepSignature& step) {
  const StepCheck check(step, {"scores"}, {"experts", "weights"});
  RENGA_RETURN_IF_ERROR(check.Counts(1));
  RENGA_RETURN_IF_ERROR(check.OnlyAttrs({"normalise", "used"}));
  RENGA_RETURN_IF_ERROR(check.InType(0, {DType::kF32}, 2));
  RENGA_RETURN_IF_ERROR(check.OutType(0, {DType::kI32}, 2));
  RENGA_RETURN_IF_ERROR(check.OutType(1, {DType::kF32}, 2));
  RENGA_ASSIGN_OR_RETURN(const bool normalise, check.Bool("normalise"));
  RENGA_ASSIGN_OR_RETURN(const int64_t used, check.Int("used"));
  RENGA_ASSIGN_OR_RETURN(const int64_t count, check.ConstDim(0, 1));
  if (used < 1 || used > count) {
    return check.Error(StrCat("attribute used is ", used, ", expected 1 to ", count));
  }
  RENGA_RETURN_IF_ERROR(check.SameDim("experts", check.Out(0), 0, "scores", check.In(0).shape[0]));
  RENGA_RETURN_IF_ERROR(check.SameDim("experts", check.Out(0), 1, "attribute used", {-1, used}));
  RENGA_RETURN_IF_ERROR(check.SameShape("weights", check.Out(1), "experts", check.Out(0)));
  const size_t bytes = static_cast<size_t>(count) * sizeof(double);
  const auto run = [normalise, used, count, bytes](const KernelCall& call) {
    const float* scores = call.inputs[0].as<const float>();
    double* p = reinterpret_cast<double*>(call.pool.Scratch(0, bytes));
    for (int64_t t = 0; t < call.inputs[0].dims[0]; ++t) {
      Route(scores + t * count, count, used, normalise, p, call.outputs[0].as<int32_t>() + t * used,
            call.outputs[1].as<float>() + t * used);
    }
  };
  return PreparedKernel(run, [bytes](const ScratchCall&) { return ScratchBytes{bytes, 0}; });
}

}  // namespace

const KernelDef kMoeRoute = {"moe_route", Prepare};

}  // namespace renga::cpu
