// The few members of a family that differ from all others.
#pragma once

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "tools/lint/check.h"

namespace renga {

// Models with layers of two kinds have them in a pattern, so that each kind is more than one layer
// in eight; what is rarer is an exception.
inline constexpr size_t kOneIn = 8;

// Members (places in the family) whose `value_of(member)` is not what nearly all have, each with
// what those have. None where there are fewer than three, or several values are common.
template <typename Value, typename ValueOf>
std::vector<std::pair<int, Value>> OddOnes(const TensorFamily& family, const ValueOf& value_of) {
  const size_t size = family.tensors.size();
  std::map<Value, size_t> counts;
  for (size_t i = 0; i < size; ++i) ++counts[value_of(static_cast<int>(i))];
  const auto most =
      std::max_element(counts.begin(), counts.end(),
                       [](const auto& a, const auto& b) { return a.second < b.second; });
  std::vector<std::pair<int, Value>> odd;
  if (size < 3 || size - most->second > std::max<size_t>(1, size / kOneIn)) return odd;
  for (size_t i = 0; i < size; ++i) {
    const Value value = value_of(static_cast<int>(i));
    if (value != most->first) odd.emplace_back(static_cast<int>(i), most->first);
  }
  return odd;
}

}  // namespace renga
