// Where the scale of a quantised block lies, and where its quants do.
#pragma once

#include "ir/base/dtype.h"

namespace renga {

// Bytes from the start of a block. Of blocks with a scale in two levels it is the upper one.
struct ScalePlace {
  DType type;
  int scale_at;  // an f16
  int quants_at;
  int quants_bytes;  // whose bytes are all the same where the writer had only zeros to store
};

// Null for types without blocks and for those whose scale is no f16 in one place, or whose quants
// differ even where all values are zero (docs/gguf-types.md has the layouts).
const ScalePlace* FindScalePlace(DType type);

}  // namespace renga
