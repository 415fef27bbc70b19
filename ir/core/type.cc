#include "ir/core/type.h"

#include "ir/base/strings.h"

namespace renga {

std::string ToString(const Dim& dim) {
  return dim.is_symbol() ? dim.symbol : StrCat(dim.value);
}

std::string ToString(const TensorType& type) {
  std::string text = StrCat(Name(type.dtype), "[");
  for (size_t i = 0; i < type.shape.size(); ++i) {
    StrAppend(&text, i == 0 ? "" : ",", ToString(type.shape[i]));
  }
  return text + "]";
}

}  // namespace renga
