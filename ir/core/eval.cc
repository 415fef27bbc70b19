#include "ir/core/eval.h"

#include <algorithm>
#include <cmath>

namespace renga {

std::vector<float> EvalCall::Vector(int operand) const {
  if (operands_[operand].tensor != nullptr) return operands_[operand].tensor->f;
  const WeightRows& rows = *operands_[operand].weight;
  const int64_t width = rows.shape.back();
  int64_t count = 1;
  for (size_t axis = 0; axis + 1 < rows.shape.size(); ++axis) count *= rows.shape[axis];
  std::vector<float> values(count * width);
  for (int64_t row = 0; row < count; ++row) rows.read(row, values.data() + row * width);
  return values;
}

float RoundTo(DType dtype, float value) {
  if (dtype == DType::kF16) return HalfToFloat(FloatToHalf(value));
  if (dtype == DType::kBF16) return BFloat16ToFloat(FloatToBFloat16(value));
  if (dtype == DType::kF8_E4M3) return E4M3ToFloat(FloatToE4M3(value));
  return value;
}

}  // namespace renga
