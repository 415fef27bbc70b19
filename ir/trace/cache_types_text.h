// The element types of a run's caches of K, or of V, as a trace says them.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "ir/base/dtype.h"
#include "ir/base/strings.h"

namespace renga {

// "f16"; "f16+q8_0" where layers differ, in the order of the layers; "" of none.
inline std::string CacheTypesText(absl::Span<const DType> of_layers) {
  std::vector<std::string_view> names;
  for (const DType type : of_layers) {
    if (std::find(names.begin(), names.end(), Name(type)) == names.end()) {
      names.push_back(Name(type));
    }
  }
  return StrJoin(names, "+");
}

}  // namespace renga
