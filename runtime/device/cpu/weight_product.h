// Products of stored weight rows with activations, for any supported type: what linear and
// expert_linear have in common. A result is the same, to the bit, for any number of tokens, any
// split of the rows and any number of threads.
#pragma once

#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "runtime/device/cpu/float_ops.h"
#include "runtime/device/cpu/quant_ops.h"
#include "runtime/device/cpu/step_check.h"
#include "runtime/device/cpu/thread_pool.h"

namespace renga::cpu {

// Types that WeightProduct and embed read, for messages: "f32, f16, ...".
std::string SupportedWeightTypes();

class WeightProduct {
 public:
  // Rows that are cheapest together: parts of a parallel loop over rows should be multiples.
  static constexpr int64_t kRows = 16;

  // For rows of the last axis of `weight`, operand `name` of a step. Unimplemented when its type is
  // not supported, InvalidArgument when its rows are no whole blocks.
  static absl::StatusOr<WeightProduct> Make(const StepCheck& check, std::string_view name,
                                            const plan::TensorType& weight);

  int64_t k() const { return k_; }
  int64_t row_bytes() const { return row_bytes_; }

  // Activations in the form that the type wants; lives in the pool's shared scratch.
  struct Input {
    QuantTokens quant;
    const float* floats = nullptr;
    std::byte* extra = nullptr;  // the extra bytes asked for
  };
  // `row` gives the k numbers of a token; it may keep them in the scratch memory of the worker that
  // it is told, until that worker's next row.
  using Row = absl::FunctionRef<const float*(int64_t token, int worker)>;
  Input Convert(ThreadPool& pool, int64_t tokens, Row row, size_t extra_bytes = 0) const;

  // Whether Multiply may be given what `other` converted, and computes the same as from its own.
  bool Reads(const WeightProduct& other) const;

  // y[t * y_stride + r] = weight row r times token first + t, for begin <= r < end and t < tokens.
  void Multiply(const uint8_t* weight, int64_t begin, int64_t end, const Input& x, int64_t first,
                int64_t tokens, float* y, int64_t y_stride, ThreadPool& pool, int worker) const;

 private:
  void MultiplyQuant(const uint8_t* weight, int64_t begin, int64_t end, const QuantTokens& x,
                     int64_t tokens, float* y, int64_t y_stride, ThreadPool& pool,
                     int worker) const;
  void MultiplyFloat(const uint8_t* weight, int64_t begin, int64_t end, const float* x,
                     int64_t tokens, float* y, int64_t y_stride, ThreadPool& pool,
                     int worker) const;

  const QuantOps* quant_ = nullptr;  // exactly one of the two is set
  const FloatOps* float_ = nullptr;
  int64_t k_ = 0;
  int64_t row_bytes_ = 0;
};

}  // namespace renga::cpu
