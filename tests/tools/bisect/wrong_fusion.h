// A pipeline one of whose fusions is wrong at one node: for tests alone.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "passes/core/pipeline.h"
#include "passes/fuse/fuse_gate_up.h"

namespace renga {

inline constexpr std::string_view kWronglyFused = "1.act";

// FuseGateUp, but the node of kWronglyFused has gate and up the wrong way round.
inline absl::StatusOr<bool> FuseOneGateUpWrongly(Graph& graph, Ledger& ledger) {
  absl::StatusOr<bool> changed = FuseGateUp(graph, ledger);
  for (Node& node : graph.nodes) {
    if (node.op->name == "gate_up" && NodeName(graph, node) == kWronglyFused) {
      std::swap(node.operands[1], node.operands[2]);
    }
  }
  return changed;
}

inline std::vector<Pass> PipelineWithAWrongFusion(absl::Span<const Pass> of = DefaultPipeline()) {
  std::vector<Pass> pipeline(of.begin(), of.end());
  for (Pass& pass : pipeline) {
    if (pass.name == "fuse-gate-up") pass.run = FuseOneGateUpWrongly;
  }
  return pipeline;
}

}  // namespace renga
