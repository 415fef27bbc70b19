// Products of stored weight rows with activations, for any supported type and layout: what the
// operators with projections have in common. A result is the same, to the bit, for any number of
// tokens, any split of the rows and any number of threads.
#pragma once

#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "runtime/device/cpu/float_ops.h"
#include "runtime/device/cpu/quant_ops.h"
#include "runtime/device/cpu/rows8_ops.h"
#include "runtime/device/cpu/step_check.h"
#include "runtime/device/cpu/thread_pool.h"

namespace renga::cpu {

// Types that WeightProduct and embed read, for messages: "f32, f16, ...".
std::string SupportedWeightTypes();

class WeightProduct {
 public:
  // Rows that are cheapest together: parts of a parallel loop over rows should be multiples, and
  // must be where a layout has groups of rows.
  static constexpr int64_t kRows = 16;

  // For rows of the last axis of `weight`, operand `name` of a step, in the layout it has.
  // Unimplemented when its type or layout is not supported, InvalidArgument when its rows are no
  // whole blocks.
  static absl::StatusOr<WeightProduct> Make(const StepCheck& check, std::string_view name,
                                            const plan::TensorType& weight);

  int64_t k() const { return k_; }
  int64_t row_bytes() const { return row_bytes_; }

  // Where row `row` of a matrix starts, a multiple of kRows.
  const uint8_t* Row(const uint8_t* matrix, int64_t row) const { return matrix + row * row_bytes_; }

  // Where matrix number `index` of the tensor starts, for a weight of more than two axes.
  const uint8_t* Matrix(const uint8_t* weight, int64_t index) const {
    return weight + index * matrix_bytes_;
  }

  // True when both take the same Input, whatever their types and layouts.
  bool SameInput(const WeightProduct& other) const {
    return k_ == other.k_ && (float_ == nullptr) == (other.float_ == nullptr);
  }

  // Activations in the form that the type wants; lives in the pool's shared scratch.
  struct Input {
    QuantTokens quant;
    const float* floats = nullptr;
    std::byte* extra = nullptr;  // the extra bytes asked for
  };
  // `row` gives the k numbers of a token; it may keep them in the scratch memory of the worker that
  // it is told, until that worker's next row.
  using RowFn = absl::FunctionRef<const float*(int64_t token, int worker)>;
  Input Convert(ThreadPool& pool, int64_t tokens, RowFn row, size_t extra_bytes = 0) const;

  // The scratch memory that Convert asks for, and that Multiply asks for a worker.
  size_t InputScratch(int64_t tokens, size_t extra_bytes = 0) const;
  size_t WorkerScratch(int64_t tokens) const;

  // y[t * y_stride + r] = row r of `matrix` times token first + t, for begin <= r < end and
  // t < tokens; `begin` is a multiple of kRows.
  void Multiply(const uint8_t* matrix, int64_t begin, int64_t end, const Input& x, int64_t first,
                int64_t tokens, float* y, int64_t y_stride, ThreadPool& pool, int worker) const;

 private:
  // Offsets in the scratch memory of an Input, or of a worker's tile of unpacked rows.
  struct InputPlaces {
    size_t floats, q, scale, total16, total32, sum16, sum32, extra, bytes;
  };
  InputPlaces PlaceInput(int64_t tokens, size_t extra_bytes) const;
  struct TilePlaces {
    size_t q, scale, min, acc, bytes;
  };
  TilePlaces PlaceQuantTile() const;
  TilePlaces PlaceFloatTile() const;
  size_t DotScratch() const;

  void MultiplyQuant(const uint8_t* weight, int64_t begin, int64_t end, const QuantTokens& x,
                     int64_t tokens, float* y, int64_t y_stride, ThreadPool& pool,
                     int worker) const;
  void MultiplyFloat(const uint8_t* weight, int64_t begin, int64_t end, const float* x,
                     int64_t tokens, float* y, int64_t y_stride, ThreadPool& pool,
                     int worker) const;

  // Exactly one of the three is set.
  const Rows8Ops* rows8_ = nullptr;
  const QuantOps* quant_ = nullptr;
  const FloatOps* float_ = nullptr;
  int64_t k_ = 0;
  int64_t row_bytes_ = 0;
  int64_t matrix_bytes_ = 0;
};

}  // namespace renga::cpu
