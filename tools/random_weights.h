// Weights for a graph without a model: deterministic, of the sizes that trained ones have, so that
// no value of the run explodes or vanishes.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "ir/core/graph.h"
#include "ir/reference/interpreter.h"

namespace renga {

// A copy whose weights are F32.
Graph WithF32Weights(const Graph& graph);

// For the weights of `graph`, which are F32: matrices N(0, 1/k) for rows of k, vectors 1 + N(0,
// 0.01), biases N(0, 0.01). A weight depends on its name, sizes and `seed` alone. Made when asked
// for and kept. InvalidArgument for a graph of more than 4 GiB of them.
absl::StatusOr<WeightBytes> RandomWeights(const Graph& graph, uint64_t seed);

}  // namespace renga
