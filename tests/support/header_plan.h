// The plan of a model for GPUs from its header alone, without the digests of its weights: as
// Compile with `only_lower`, for files whose weights are not there or take long to read. No runtime
// would accept them.
#pragma once

#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "codegen/lower/lower.h"
#include "frontend/gguf/gguf.h"
#include "frontend/models/model.h"
#include "ir/base/status.h"
#include "ir/text/print.h"
#include "passes/core/pipeline.h"
#include "passes/core/runner.h"
#include "tools/compiler.h"

namespace renga {

inline absl::StatusOr<plan::Plan> LowerHeader(const std::string& gguf,
                                              const CompileOptions& options) {
  RENGA_ASSIGN_OR_RETURN(const GgufFile file, GgufFile::Open(gguf));
  RENGA_ASSIGN_OR_RETURN(const GraphOptions graph_options, GraphOptionsOf(file, options));
  RENGA_ASSIGN_OR_RETURN(Model model, BuildModel(file, graph_options));
  Ledger ledger;
  RENGA_RETURN_IF_ERROR(RunPasses(model.graph, GpuPipeline(), {}, &ledger).status());
  codegen::LowerInput input{.graph = model.graph};
  input.target = options.target;
  input.model = std::move(model.info);
  input.tokenizer = std::move(model.tokenizer);
  input.files = std::move(model.files);
  for (WeightSource& source : model.weights) {
    input.weights.push_back(
        {.source = std::move(source), .digest = {}, .layout = "", .embedded = {}});
  }
  input.ignored = std::move(model.ignored);
  input.geometry = {.page_tokens = options.page_tokens,
                    .context = graph_options.context,
                    .max_sequences = options.max_sequences,
                    .max_step_tokens = MaxStepTokens(options)};
  input.ir = input.source_ir = Print(model.graph);
  input.choices = PlanChoices(std::move(ledger.choices));
  return codegen::Lower(std::move(input));
}

inline absl::StatusOr<plan::Plan> LowerHeader(const std::string& gguf, const std::string& target) {
  CompileOptions options;
  options.target = target;
  return LowerHeader(gguf, options);
}

}  // namespace renga
