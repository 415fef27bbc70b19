// Models whose layers have windows, out of one whose layers have none: a pass before all others
// gives layers 1, 2, 5, 6, ... a window of 7 keys and layers 3, 7, ... one of 12.
#pragma once

#include <string>
#include <vector>

#include "ir/core/graph.h"
#include "passes/core/pass.h"
#include "passes/core/pipeline.h"
#include "tools/compiler.h"

namespace renga {

inline absl::StatusOr<bool> GiveWindows(Graph& graph, Ledger&) {
  constexpr int64_t kWindows[] = {0, 7, 7, 12};
  bool changed = false;
  for (Node& node : graph.nodes) {
    if (node.op->name != "masked_softmax") continue;
    const int64_t window = kWindows[LayerOf(NodeName(graph, node)) % 4];
    changed |= window > 0;
    node.attrs["window"] = window;
  }
  return changed;
}

// `options` for such a model, with pages apart for windows or without; `pipeline` must outlive
// them.
inline CompileOptions Windowed(CompileOptions options, bool apart, std::vector<Pass>* pipeline) {
  const absl::Span<const Pass> all = options.target == "cpu" ? DefaultPipeline() : GpuPipeline();
  *pipeline = {{"give-windows", GiveWindows, "gives layers windows", /*whole=*/true}};
  pipeline->insert(pipeline->end(), all.begin(), all.end());
  options.pipeline = *pipeline;
  if (!apart) options.disabled_passes.emplace_back("window-pages");
  return options;
}

}  // namespace renga
