// arg_max: y = the lowest i with x[i] = max x over the last axis; -1 where an x[i] is NaN or
// +infinity, or all are -infinity.
#include "runtime/device/cpu/arg_max.h"

#include <algorithm>
#include <cmath>

#include "ir/base/status.h"
#include "ir/base/strings.h"
#include "runtime/device/cpu/kernels.h"
#include "runtime/device/cpu/shapes.h"
#include "runtime/device/cpu/step_check.h"

namespace renga::cpu {

void Largest::Fold(const float* x, int64_t n, int64_t first) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  Largest part;
  for (int64_t i = 0; i < n; ++i) {
    if (x[i] <= part.value) continue;  // false for NaN
    if (std::isnan(x[i]) || x[i] == kInfinity) {
      part = {kInfinity, -1};
    } else {
      part = {x[i], static_cast<int32_t>(first + i)};
    }
  }
  Fold(part);
}

void Largest::Fold(const Largest& other) {
  const bool before = other.value == value && other.index < index;
  if (other.value > value || before) *this = other;
}

namespace {

// Columns of a part: a few microseconds of work.
constexpr int64_t kColumns = 4096;

int64_t Parts(int64_t width) { return (width + kColumns - 1) / kColumns; }

size_t FoundBytes(int64_t rows, int64_t width) {
  return static_cast<size_t>(rows * Parts(width)) * sizeof(Largest);
}

void Run(const KernelCall& call) {
  const float* x = call.inputs[0].as<const float>();
  int32_t* y = call.outputs[0].as<int32_t>();
  const int64_t rows = Rows(call.inputs[0]), width = Width(call.inputs[0]);
  const int64_t parts = Parts(width);
  // One for every part, whichever thread finds it.
  Largest* found = reinterpret_cast<Largest*>(call.pool.SharedScratch(FoundBytes(rows, width)));
  const int64_t grain = std::max<int64_t>(1, kColumns / width);
  call.pool.ParallelFor(rows * parts, grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t row = i / parts, first = i % parts * kColumns;
      found[i] = Largest();
      found[i].Fold(x + row * width + first, std::min(kColumns, width - first), first);
    }
  });
  for (int64_t row = 0; row < rows; ++row) {
    Largest largest;
    for (int64_t part = 0; part < parts; ++part) largest.Fold(found[row * parts + part]);
    y[row] = largest.index;
  }
}

absl::StatusOr<PreparedKernel> Prepare(const StepSignature& step) {
  const StepCheck check(step, {"x"}, {"y"});
  RENGA_RETURN_IF_ERROR(check.Counts(1));
  RENGA_RETURN_IF_ERROR(check.OnlyAttrs({}));
  RENGA_RETURN_IF_ERROR(check.InType(0, {DType::kF32}, 0));
  const plan::TensorType& x = check.In(0);
  if (x.shape.size() < 2) {
    return check.Error(StrCat("x has shape ", check.ShapeText(x), ", expected 2 to 4 dimensions"));
  }
  RENGA_RETURN_IF_ERROR(check.ConstDim(0, x.shape.size() - 1).status());
  RENGA_RETURN_IF_ERROR(check.OutType(0, {DType::kI32}, x.shape.size() - 1));
  for (size_t i = 0; i + 1 < x.shape.size(); ++i) {
    RENGA_RETURN_IF_ERROR(check.SameDim("y", check.Out(0), i, "x", x.shape[i]));
  }
  return PreparedKernel(Run, [](const ScratchCall& call) {
    return ScratchBytes{0, FoundBytes(Rows(call.inputs[0]), Width(call.inputs[0]))};
  });
}

}  // namespace

const KernelDef kArgMax = {"arg_max", Prepare};

}  // namespace renga::cpu
