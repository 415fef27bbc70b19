// The reference interpreter: what a graph means. It walks the nodes in order, calling each
// operator's own evaluation (a fused one's parts in turn), on weights it dequantises itself. Slow
// and obvious; every fast path is held against it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "ir/core/eval.h"
#include "ir/core/graph.h"
#include "ir/reference/parallel.h"

namespace renga {

// The bytes of a weight as they stand in the model file, by name. They must outlive the
// interpreter.
using WeightBytes =
    std::function<absl::StatusOr<absl::Span<const uint8_t>>(const std::string& name)>;

// Sizes of the symbols for one run, by name.
using SymbolValues = std::map<std::string, int64_t, std::less<>>;

// Called after every node with its results, in order.
using Observer =
    std::function<absl::Status(const Node& node, absl::Span<HostTensor* const> results)>;

class Interpreter {
 public:
  // `graph` is verified and outlives the interpreter. `fixed` gives the symbols of the caches'
  // shapes, which stay the same from run to run; caches start as zeros.
  static absl::StatusOr<std::unique_ptr<Interpreter>> Create(const Graph& graph,
                                                             const WeightBytes& weights,
                                                             const SymbolValues& fixed,
                                                             int threads);

  // Runs all nodes. `symbols` gives every symbol that is not fixed; `params` one tensor per
  // parameter, in order, of the declared type. After an error the caches' contents are unspecified.
  absl::Status Run(const SymbolValues& symbols, const std::vector<HostTensor>& params,
                   const Observer& observer = nullptr);

  // Contents of the graph's cache number `index`, for starting from other than zeros. Only its
  // numbers may be changed.
  HostTensor& Cache(int index) { return *scope_.values[graph_.caches[index]]; }

  // Value of return number `index` of the last run.
  const HostTensor& Return(int index) const { return *scope_.values[graph_.returns[index]]; }

 private:
  // The values of a graph: the whole one, or the parts of a fused node.
  struct Scope {
    const Graph& graph;
    std::vector<WeightRows> weights;                  // by value id; empty shape for other values
    std::vector<std::shared_ptr<HostTensor>> values;  // by value id; aliases share a tensor
    std::vector<int> uses;                            // by value id; how often a run reads it
  };

  Interpreter(const Graph& graph, int threads);
  absl::Status ReadPlainWeights();
  // Evaluates, shows and frees what is not read again.
  absl::Status Step(const Node& node, Scope& scope, const Observer& observer);
  absl::Status Evaluate(const Node& node, Scope& scope);
  absl::Status EvaluateParts(const Node& node, Scope& scope);
  absl::StatusOr<std::vector<int64_t>> Concrete(const TensorType& type) const;

  const Graph& graph_;
  RowThreads threads_;
  ParallelFor parallel_;
  SymbolValues fixed_;
  SymbolValues symbols_;
  Scope scope_;
};

}  // namespace renga
