// What a wrong node may have done instead: each guess is computed, and the one that gives the wrong
// values is the answer.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "ir/core/graph.h"
#include "ir/reference/interpreter.h"
#include "ir/trace/recorded.h"
#include "ir/trace/trace.h"
#include "ir/trace/value_error.h"

namespace renga {

struct LikelyInputs {
  const Graph& graph;
  const WeightBytes& weights;
  const Recorded& recorded;
  int threads = 1;
};

struct Likely {
  // "not a number", "zeros", "scaled", "wrong row", "transposed", "permuted", "truncated",
  // "not written", "pairs", "attribute", "weight", "position", "paging", "operand", "stale cache",
  // "stride", "heads", "dequantisation"; docs/verify.md says what each means.
  std::string kind;
  std::string text;  // empty: no guess gives the values
};

class LikelyCauses {
 public:
  // What `inputs` refers to outlives this.
  explicit LikelyCauses(const LikelyInputs& inputs) : inputs_(inputs) {}

  // For result `id`, which should be `expected` and is `got`. Costs an evaluation of the node for
  // each guess; what explained one node is tried first for its like in other layers, and an
  // operator whose nodes nothing explained a few times is not tried again.
  Likely Find(ValueId id, const TracedValue& expected, const TracedValue& got);

 private:
  struct Known {
    std::vector<std::string> keys;  // of guesses that were right, the latest first
    int failures = 0;
  };

  const LikelyInputs inputs_;
  std::map<std::string, Known, std::less<>> known_;  // by operator
};

// What the values alone say: `before` is what they were before the node, of caches; else null.
Likely LikelyFromValues(const TracedValue& expected, const TracedValue& got,
                        const ValueError& error, const std::vector<float>* before);

// Two values that are the same but for what devices round.
inline constexpr double kSameValue = 2e-3;

}  // namespace renga
