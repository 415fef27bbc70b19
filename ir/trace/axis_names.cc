#include "ir/trace/axis_names.h"

#include <string_view>
#include <utility>

#include "ir/base/strings.h"
#include "ir/base/windows.h"

namespace renga {
namespace {

std::string AxisName(const TensorType& type, size_t axis) {
  constexpr std::pair<std::string_view, std::string_view> kSymbols[] = {
      {"T", "token"}, {"R", "row"}, {"L", "key"}, {"C", "cell"}, {"S", "sequence"}, {"P", "page"}};
  for (const auto& [symbol, name] : kSymbols) {
    if (SplitWindow(type.shape[axis].symbol).base == symbol) return std::string(name);
  }
  if (type.rank() == 3 && axis == 1) return "head";
  return axis + 1 == type.shape.size() ? "dim" : StrCat("axis ", axis);
}

}  // namespace

std::vector<std::string> AxisNames(const TensorType& type) {
  std::vector<std::string> names;
  for (size_t axis = 0; axis < type.shape.size(); ++axis) names.push_back(AxisName(type, axis));
  return names;
}

}  // namespace renga
