#include "tools/file_weights.h"

#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "ir/base/status.h"

namespace renga {

WeightBytes FileWeights(const plan::Plan& plan, const WeightStore& store) {
  std::map<std::string_view, int> index;
  for (size_t i = 0; i < plan.weights.size(); ++i) {
    index[plan.weights[i].source.name] = static_cast<int>(i);
  }
  return [&plan, &store, index = std::move(index)](
             const std::string& name) -> absl::StatusOr<absl::Span<const uint8_t>> {
    const auto found = index.find(name);
    if (found == index.end()) {
      return absl::InvalidArgumentError(StrCat(
          "the plan's graph: expected an entry in the weight table for @", name, ", got none"));
    }
    return absl::MakeConstSpan(store.data(found->second), plan.weights[found->second].source.bytes);
  };
}

}  // namespace renga
