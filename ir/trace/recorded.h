// What a trace recorded, as a graph's nodes read it: for Replayer.
#pragma once

#include <optional>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "ir/core/eval.h"
#include "ir/core/graph.h"
#include "ir/reference/interpreter.h"
#include "ir/trace/step_state.h"
#include "ir/trace/trace.h"

namespace renga {

class Recorded {
 public:
  // Values of `graph` by the recorded ones that stand for them. Caches before the run are zeros,
  // parameters those of the run (run_params.h), unless `state` has them. `graph`, `run`, what
  // `values` points to and `state` outlive this.
  Recorded(const Graph& graph, const TraceRun& run,
           absl::flat_hash_map<ValueId, const TracedValue*> values,
           const StepState* state = nullptr);

  // nullptr where the value was not recorded.
  const TracedValue* Find(ValueId id) const;
  // Sizes that the run and the recorded shapes give.
  const SymbolValues& symbols() const { return symbols_; }

  // As the interpreter holds them, rounded to the value's type.
  absl::StatusOr<std::optional<HostTensor>> operator()(ValueId id) const;

 private:
  absl::StatusOr<std::optional<HostTensor>> Zeros(const Value& value) const;
  absl::StatusOr<std::optional<HostTensor>> Given(const Value& value) const;

  const Graph& graph_;
  const TraceRun& run_;
  absl::flat_hash_map<ValueId, const TracedValue*> values_;
  const StepState* state_;
  SymbolValues symbols_;
};

}  // namespace renga
