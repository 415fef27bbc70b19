// Graph -> plan: the last stage of compiling.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ir/base/model.h"
#include "ir/core/graph.h"
#include "runtime/plan/plan.h"

namespace renga::codegen {

inline constexpr std::string_view kProducer = "renga 0.1.0";

struct LowerInput {
  const Graph& graph;  // verified
  std::string target;  // "cpu", or names of GPUs (nvrtc/target.h), separated by commas
  ModelInfo model;
  TokenizerData tokenizer;
  std::vector<ModelFile> files;
  std::vector<plan::Weight> weights;  // one per weight of the graph that is not packed, by name
  std::vector<IgnoredTensor> ignored;
  plan::Geometry geometry;
  std::string source_ir, ir;  // text before and after the passes
  std::vector<plan::PassRecord> passes;
  std::vector<plan::LedgerEntry> ledger;
  std::vector<plan::Choice> choices;
  // Which kernels compute some nodes (emit/kernel_requests.h).
  std::vector<std::string> kernels;
  bool kernels_may_be_gone = false;
};

// A plan that Validate accepts: buffers in the arena, steps in the graph's order, exact memory
// figures.
// For GPUs its kernels have sources and no code yet (build_kernels.h).
//   Unimplemented    an operator, type or size that the target has no emitter or kernel for
//   InvalidArgument  an unknown target, a kernel that cannot be had, a weight of the graph without
//   an entry, an entry without a weight, types that
//                    differ, or sizes that a plan cannot have (see Validate)
absl::StatusOr<plan::Plan> Lower(LowerInput input);

}  // namespace renga::codegen
