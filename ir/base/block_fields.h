// What the blocks of a quantised type consist of, in the order of their bytes.
#pragma once

#include <string_view>

#include "absl/types/span.h"
#include "ir/base/dtype.h"

namespace renga {

struct BlockField {
  std::string_view name;  // as in ggml's block structs
  int bytes;              // of a block
  bool bit_each = false;  // one bit an element, in the elements' order
};

// The fields of a block of `type`; together they have all of its bytes. Empty for types that
// nothing has asked to regroup yet.
absl::Span<const BlockField> BlockFields(DType type);

}  // namespace renga
