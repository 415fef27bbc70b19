// Declares the constant of every operator in ops.def. Included by the operators' own files and the
// registry; everyone else finds operators by name (ir/core/op_def.h).
#pragma once

#include "ir/core/op_def.h"

namespace renga {
#define RENGA_OP(name) extern const OpDef name;
#include "ir/ops/ops.def"
#undef RENGA_OP
}  // namespace renga
