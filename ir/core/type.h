// Tensor types of the IR: an element type and row-major sizes, outermost first. A size is a
// constant or a symbol ("T", tokens of this step) that is bound only when the graph runs.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ir/base/dtype.h"

namespace renga {

// A size: `symbol` empty means the constant `value` (>= 1).
struct Dim {
  int64_t value = 0;
  std::string symbol;

  Dim() = default;
  Dim(int64_t constant) : value(constant) {}  // NOLINT: sizes read naturally as numbers
  static Dim Symbol(std::string_view name) {
    Dim dim;
    dim.symbol = std::string(name);
    return dim;
  }
  bool is_symbol() const { return !symbol.empty(); }
  friend bool operator==(const Dim&, const Dim&) = default;
};

struct TensorType {
  DType dtype = DType::kF32;
  std::vector<Dim> shape;

  int rank() const { return static_cast<int>(shape.size()); }
  friend bool operator==(const TensorType&, const TensorType&) = default;
};

// "f32[T,14,64]"
std::string ToString(const Dim& dim);
std::string ToString(const TensorType& type);

}  // namespace renga
