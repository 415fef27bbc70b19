// A node alone, evaluated on recorded inputs by the reference interpreter: what it would have
// computed had everything before it been right.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "ir/core/eval.h"
#include "ir/core/graph.h"
#include "ir/reference/interpreter.h"
#include "ir/trace/trace.h"

namespace renga {

// The recorded tensor of a value that is no weight; nullopt where there is none.
using RecordedValue = std::function<absl::StatusOr<std::optional<HostTensor>>(ValueId)>;

class Replayer {
 public:
  // `graph` is verified; it and `weights` outlive the replayer.
  Replayer(const Graph& graph, const WeightBytes& weights, int threads);

  // `value` from the nearest recorded values before it: by the node that computes it, and those
  // between it and them. The value itself is not looked up. `symbols` has the sizes of the run that
  // the recorded values' shapes do not give. InvalidArgument where a parameter or cache that is
  // needed was not recorded, or sizes contradict each other. Costs what it evaluates, whatever the
  // size of the graph.
  absl::StatusOr<HostTensor> Replay(ValueId value, const RecordedValue& recorded,
                                    const SymbolValues& symbols) const;
  // The same for all results of the node that computes `value`, in its order, evaluated once.
  absl::StatusOr<std::vector<HostTensor>> ReplayAll(ValueId value, const RecordedValue& recorded,
                                                    const SymbolValues& symbols) const;

 private:
  absl::StatusOr<std::vector<HostTensor>> Run(ValueId value, bool all,
                                              const RecordedValue& recorded,
                                              const SymbolValues& symbols) const;

  const Graph& graph_;
  const WeightBytes& weights_;
  const int threads_;
  std::vector<int> producer_;  // by value id
};

// As the interpreter holds it.
HostTensor ToHostTensor(const TracedValue& value);

// As a trace holds it; `bytes` receives the elements and must outlive the result.
TracedValue ToTracedValue(const HostTensor& tensor, std::vector<uint8_t>* bytes);

// Adds the symbols that `type` names, bound to `shape`. InvalidArgument where a size is already
// another, or where the ranks differ.
absl::Status BindSymbols(const TensorType& type, const std::vector<int64_t>& shape,
                         SymbolValues* symbols);

}  // namespace renga
