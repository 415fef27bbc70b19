#include "ir/core/cache_rounding.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "ir/base/strings.h"
#include "ir/core/eval.h"

namespace renga {
namespace {

constexpr size_t kBlock = 32;  // numbers, of q8_0 and of q4_0

void RoundEach(DType dtype, absl::Span<float> values) {
  for (float& value : values) value = RoundTo(dtype, value);
}

void RoundToQ8(DType, absl::Span<float> values) {
  constexpr double kMostQuants = 127;
  double largest = 0;
  for (const float value : values) largest = std::max(largest, std::abs(double{value}));
  const double step = largest / kMostQuants;
  const float stored = HalfToFloat(FloatToHalf(static_cast<float>(step)));
  for (float& value : values) {
    value = step == 0 ? 0 : static_cast<float>(std::nearbyint(value / step) * stored);
  }
}

// H x.
std::array<double, kBlock> Turned(const std::array<double, kBlock>& x) {
  std::array<double, kBlock> y;
  for (size_t i = 0; i < kBlock; ++i) {
    double sum = 0;
    for (size_t j = 0; j < kBlock; ++j) sum += std::popcount(i & j) % 2 == 0 ? x[j] : -x[j];
    y[i] = sum / std::sqrt(double{kBlock});
  }
  return y;
}

void RoundToQ4(DType, absl::Span<float> values) {
  constexpr double kLeast = -8, kMost = 7;
  std::array<double, kBlock> y;
  std::copy(values.begin(), values.end(), y.begin());
  y = Turned(y);
  double extreme = 0;
  for (const double value : y) {
    if (!std::isfinite(value)) {
      std::fill(values.begin(), values.end(), std::numeric_limits<float>::quiet_NaN());
      return;
    }
    if (std::abs(value) > std::abs(extreme)) extreme = value;
  }
  const double step = extreme / kLeast;
  const double stored = HalfToFloat(FloatToHalf(static_cast<float>(step)));
  for (double& value : y) {
    if (step != 0) value = std::clamp(std::floor(value / step + 0.5), kLeast, kMost) * stored;
  }
  y = Turned(y);
  std::copy(y.begin(), y.end(), values.begin());
}

struct CacheRounding {
  DType type;
  size_t block;  // numbers that are rounded together
  void (*round)(DType type, absl::Span<float> block);
};

constexpr CacheRounding kRoundings[] = {
    {DType::kF32, 1, RoundEach},       {DType::kF16, 1, RoundEach},
    {DType::kBF16, 1, RoundEach},      {DType::kQ8_0, kBlock, RoundToQ8},
    {DType::kQ4_0, kBlock, RoundToQ4}, {DType::kF8_E4M3, 1, RoundEach}};

constexpr auto kTypes = [] {
  std::array<DType, std::size(kRoundings)> types;
  for (size_t i = 0; i < types.size(); ++i) types[i] = kRoundings[i].type;
  return types;
}();

}  // namespace

absl::Span<const DType> CacheTypes() { return kTypes; }

std::string CacheTypeNames() {
  std::vector<std::string_view> names;
  for (const DType type : kTypes) names.push_back(Name(type));
  const std::string last(names.back());
  names.pop_back();
  return StrCat(StrJoin(names, ", "), " or ", last);
}

void RoundRow(DType dtype, absl::Span<float> row) {
  for (const CacheRounding& rounding : kRoundings) {
    if (rounding.type != dtype) continue;
    for (size_t first = 0; first < row.size(); first += rounding.block) {
      rounding.round(dtype, row.subspan(first, rounding.block));
    }
  }
}

}  // namespace renga
