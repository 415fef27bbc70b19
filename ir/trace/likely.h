// What a wrong node may have done instead: each guess is computed, and the one that gives the wrong
// values is the answer.
#pragma once

#include <string>

#include "ir/core/graph.h"
#include "ir/reference/interpreter.h"
#include "ir/trace/recorded.h"
#include "ir/trace/trace.h"

namespace renga {

struct LikelyInputs {
  const Graph& graph;
  const WeightBytes& weights;
  const Recorded& recorded;
  int threads = 1;
};

// For result `id`, which should be `expected` and is `got`. Empty where no guess gives it. Costs an
// evaluation of the node for each guess.
std::string LikelyCause(const LikelyInputs& inputs, ValueId id, const TracedValue& expected,
                        const TracedValue& got);

}  // namespace renga
