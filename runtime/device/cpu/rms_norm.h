// Root mean square norms of rows, for rms_norm and the kernels that norm what they read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "absl/status/statusor.h"
#include "runtime/device/cpu/kernel.h"
#include "runtime/device/cpu/step_check.h"
#include "runtime/device/cpu/thread_pool.h"

namespace renga::cpu {

// y = x * weight / sqrt(mean(x^2) + eps) for n numbers. In place is fine.
void RmsNormRow(const float* x, const float* weight, int64_t n, double eps, float* y);

// Attribute `name` of the step: a number of 0 or more.
absl::StatusOr<double> CheckEps(const StepCheck& check, std::string_view name);

// Attribute `eps` where the step has the operand `norm`, named `name`, which must then be f32 of
// size `width`, that of `of`. 0 where it has neither; InvalidArgument for an `eps` alone, which
// would say that something is normed.
absl::StatusOr<double> CheckNorm(const StepCheck& check, size_t norm, std::string_view name,
                                 const plan::Dim& width, std::string_view of, std::string_view eps);

// What the fused projections convert: the rows of x, each normed where there is a norm.
class InputRows {
 public:
  // `norm` may be null, or hold no data.
  InputRows(const TensorRef& x, const TensorRef* norm, double eps, ThreadPool& pool);

  // Bytes of a worker's scratch memory for rows of that width, where there is a norm.
  static size_t Scratch(int64_t width) { return static_cast<size_t>(width) * sizeof(float); }

  // As WeightProduct::Convert asks for them. A normed row is in the worker's scratch memory.
  const float* operator()(int64_t row, int worker) const;

 private:
  const float* x_;
  const float* norm_;
  int64_t width_;
  double eps_;
  ThreadPool& pool_;
};

}  // namespace renga::cpu
