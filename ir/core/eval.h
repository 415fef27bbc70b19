// What an operator's `evaluate` sees: concrete tensors on the host. Floating point values are held
// as f32 and rounded to their declared type when that is narrower; sums are double.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "ir/core/attr.h"
#include "ir/core/type.h"

namespace renga {

// A dense row-major tensor. Exactly one of `f` and `i` is used, by dtype (i32 -> i, else f).
struct HostTensor {
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  std::vector<float> f;
  std::vector<int32_t> i;

  int64_t elements() const {
    int64_t n = 1;
    for (int64_t s : shape) n *= s;
    return n;
  }
  void Allocate() {  // zeros
    if (dtype == DType::kI32) {
      i.assign(elements(), 0);
    } else {
      f.assign(elements(), 0.0f);
    }
  }
};

// A weight, read a row at a time: rows are all axes but the last, flattened.
struct WeightRows {
  std::vector<int64_t> shape;
  std::function<void(int64_t row, float* out)> read;  // dequantises one row; thread safe
};

// Runs fn(0..n-1) in any order, possibly on several threads.
using ParallelFor = std::function<void(int64_t n, const std::function<void(int64_t)>& fn)>;

// An operand at evaluation time: a tensor, a weight, or absent (both null).
struct EvalOperand {
  const HostTensor* tensor = nullptr;
  const WeightRows* weight = nullptr;
};

class EvalCall {
 public:
  EvalCall(absl::Span<const EvalOperand> operands, absl::Span<HostTensor* const> results,
           const AttrMap& attrs, const ParallelFor& parallel)
      : operands_(operands), results_(results), attrs_(attrs), parallel_(parallel) {}

  bool has(int operand) const {
    return operands_[operand].tensor != nullptr || operands_[operand].weight != nullptr;
  }
  const HostTensor& in(int operand) const { return *operands_[operand].tensor; }
  const WeightRows& weight(int operand) const { return *operands_[operand].weight; }

  // All values of a small operand that may be a weight or a tensor (norm weights, biases, factors).
  std::vector<float> Vector(int operand) const;

  // Results are allocated (zeros) with their inferred shape before the call; a result that aliases
  // an operand is that operand's tensor, contents included.
  HostTensor& out(int result) { return *results_[result]; }

  int64_t Int(std::string_view name) const { return std::get<int64_t>(attrs_.find(name)->second); }
  double Float(std::string_view name) const { return std::get<double>(attrs_.find(name)->second); }
  bool Bool(std::string_view name) const { return std::get<bool>(attrs_.find(name)->second); }
  const std::string& Name(std::string_view name) const {
    return std::get<std::string>(attrs_.find(name)->second);
  }
  bool has_attr(std::string_view name) const { return attrs_.find(name) != attrs_.end(); }

  void Parallel(int64_t n, const std::function<void(int64_t)>& fn) const { parallel_(n, fn); }

 private:
  absl::Span<const EvalOperand> operands_;
  absl::Span<HostTensor* const> results_;
  const AttrMap& attrs_;
  const ParallelFor& parallel_;
};

// Rounds to what `dtype` (f32, f16 or bf16) can hold.
float RoundTo(DType dtype, float value);

}  // namespace renga
