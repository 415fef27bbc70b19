// What one step of a device was given and what its caches held before it: for replaying nodes of a
// step that is not the first of an only sequence (run_params.h has that one's).
#pragma once

#include <map>
#include <string>

#include "ir/core/eval.h"
#include "ir/reference/interpreter.h"

namespace renga {

struct StepState {
  SymbolValues symbols;  // T, S, R, L, P and C
  // By name, without sigil; of the graph's types, all sizes known.
  std::map<std::string, HostTensor, std::less<>> params;
  std::map<std::string, HostTensor, std::less<>> caches;  // as they were before: [C, heads, dim]
};

}  // namespace renga
