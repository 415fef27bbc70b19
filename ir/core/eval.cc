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
  return value;
}

void RoundRow(DType dtype, absl::Span<float> row) {
  if (dtype != DType::kQ8_0) {
    for (float& value : row) value = RoundTo(dtype, value);
    return;
  }
  constexpr double kMostQuants = 127;
  const size_t block = static_cast<size_t>(Info(dtype).block_elements);
  for (size_t first = 0; first < row.size(); first += block) {
    const absl::Span<float> values = row.subspan(first, block);
    double largest = 0;
    for (const float value : values) largest = std::max(largest, std::abs(double{value}));
    const double step = largest / kMostQuants;
    const float stored = HalfToFloat(FloatToHalf(static_cast<float>(step)));
    for (float& value : values) {
      value = step == 0 ? 0 : static_cast<float>(std::nearbyint(value / step) * stored);
    }
  }
}

}  // namespace renga
