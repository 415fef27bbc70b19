#include "tools/compare/tensor_role.h"

#include "ir/core/graph.h"

namespace renga {

TensorRole RoleOfTensor(std::string_view name) {
  constexpr std::string_view kPrefix = "blk.";
  if (name.starts_with(kPrefix)) {
    const std::string_view rest = name.substr(kPrefix.size());
    const int layer = LayerOf(rest);
    const size_t dot = rest.find('.');
    if (layer >= 0 && dot != std::string_view::npos) {
      return {layer, std::string(rest.substr(dot + 1))};
    }
  }
  return {-1, std::string(name)};
}

}  // namespace renga
