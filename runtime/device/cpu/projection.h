// y = W h + b for every row of x, h = rms_norm(x) where there is a norm: what linear, linear_add,
// norm_linear and head have in common.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "runtime/device/cpu/kernel.h"
#include "runtime/device/cpu/step_check.h"
#include "runtime/device/cpu/weight_product.h"

namespace renga::cpu {

class Projection {
 public:
  static constexpr size_t kNone = SIZE_MAX;

  // Numbers of the step's operands x, weight, bias and norm; kNone where the kernel has no such
  // operand. y is the step's first result.
  struct Operands {
    size_t x = 0;
    size_t weight = 1;
    size_t bias = 2;
    size_t norm = kNone;
  };

  // Checks them, and attribute eps where there is a norm.
  static absl::StatusOr<Projection> Make(const StepCheck& check, const Operands& operands);

  // Called after rows [begin, end) of the weight have been multiplied with all tokens and the bias
  // is added; once for each row.
  using After = absl::FunctionRef<void(std::byte* extra, int64_t begin, int64_t end, int worker)>;

  // `extra_bytes` of memory that all threads share are handed to `after`; `before` may fill it.
  void Run(const KernelCall& call, size_t extra_bytes,
           absl::FunctionRef<void(std::byte* extra)> before, After after) const;
  void Run(const KernelCall& call) const;

  // What Run asks its pool for.
  ScratchBytes Scratch(const ScratchCall& call, size_t extra_bytes = 0) const;

  int64_t n() const { return n_; }

 private:
  Operands operands_;
  WeightProduct product_;
  int64_t n_ = 0;
  double eps_ = 0;
};

}  // namespace renga::cpu
