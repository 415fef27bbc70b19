#include "tools/lint/place_text.h"

#include <vector>

#include "ir/base/strings.h"

namespace renga {

std::string PlaceText(const GgufTensor& tensor, int64_t index) {
  std::vector<int64_t> place(tensor.rank);
  for (int d = tensor.rank - 1; d >= 0; --d) {
    place[d] = index % tensor.dims[d];
    index /= tensor.dims[d];
  }
  return StrCat("[", StrJoin(place, ","), "]");
}

}  // namespace renga
