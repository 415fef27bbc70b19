// A model read from a GGUF file: its graph, and everything else a plan needs to know about it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "frontend/gguf/gguf.h"
#include "ir/base/kv_types.h"
#include "ir/base/model.h"
#include "ir/core/graph.h"

namespace renga {

// How large the graph's symbolic sizes may get, and how K and V are kept.
struct GraphOptions {
  int64_t context = 4096;  // tokens a sequence can hold
  int64_t max_sequences = 1;
  int64_t max_step_tokens = 128;    // tokens of one run, all sequences together
  std::optional<int64_t> max_rows;  // rows of logits that one run may ask for; unset: its tokens
  // Tokens that all sequences together can hold, rounded up to pages; unset: each its context.
  std::optional<int64_t> kv_tokens;
  int64_t page_tokens = 64;  // cells of a KV page
  DType k_type = DType::kF16;
  DType v_type = DType::kF16;
  std::vector<KvTypesOfLayers> kv_of_layers;  // others than those two
};

struct Model {
  Graph graph;  // verified
  ModelInfo info;
  TokenizerData tokenizer;
  std::vector<ModelFile> files;
  std::vector<WeightSource> weights;   // one per graph weight, in the graph's order
  std::vector<IgnoredTensor> ignored;  // tensors of the file that the graph rightly does not use
};

// Builds the graph of the architecture that the file names. Every tensor of the file ends up in
// `weights` or `ignored`; a left-over is an error, as is a tensor the graph needs and the file
// lacks, and a layer that the options name and the model has not.
absl::StatusOr<Model> BuildModel(const GgufFile& file, const GraphOptions& options);

// Context for a file when the user asks for none: the model's own, at most 4,096.
absl::StatusOr<int64_t> DefaultContext(const GgufFile& file);

}  // namespace renga
