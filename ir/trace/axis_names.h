// What the axes of a value stand for.
#pragma once

#include <string>
#include <vector>

#include "ir/core/type.h"

namespace renga {

// One per size: "token" for T, "row" R, "key" L, "cell" C, "sequence" S, "page" P; of constants
// "head" for the middle of three, "dim" for the last, else "axis 1".
std::vector<std::string> AxisNames(const TensorType& type);

}  // namespace renga
