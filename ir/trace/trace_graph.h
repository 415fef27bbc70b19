// Records a run of a graph on the reference interpreter.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "ir/core/graph.h"
#include "ir/reference/interpreter.h"
#include "ir/trace/trace.h"

namespace renga {

struct TraceGraphOptions {
  std::vector<int32_t> ids;                         // run at once, from position 0
  std::vector<int32_t> positions;                   // ascending; see TraceRun
  std::string model;                                // for TraceRun
  int threads = 0;                                  // 0: all cores
  std::function<bool(std::string_view name)> keep;  // which values; null: all
  const std::atomic<bool>* cancel = nullptr;        // set: Cancelled at the next node
};

// Every result of every node, in order; of caches the cells that were written. The
// graph is verified; its parameters are those of a model (run_params.h). Errors as the
// interpreter's.
absl::StatusOr<Trace> TraceGraph(const Graph& graph, const WeightBytes& weights,
                                 const TraceGraphOptions& options);

}  // namespace renga
