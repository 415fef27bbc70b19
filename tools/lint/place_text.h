// Where in a tensor an element is.
#pragma once

#include <cstdint>
#include <string>

#include "frontend/gguf/tensor_table.h"

namespace renga {

// "[17,33]": one index a dimension, outermost first, of element `index` counted along the rows.
std::string PlaceText(const GgufTensor& tensor, int64_t index);

}  // namespace renga
