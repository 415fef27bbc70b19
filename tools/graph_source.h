// One side of a comparison of what graphs compute: a graph, and where its weights are from.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "frontend/models/model.h"
#include "ir/core/graph.h"
#include "ir/reference/interpreter.h"

namespace renga {

struct GraphSource {
  std::string label;          // a file's name, for texts
  Graph graph;                // verified
  WeightBytes weights;        // of a model, which it keeps mapped; null: none
  std::string weights_label;  // that model's file
};

// The model of a GGUF file, as the frontend builds it.
absl::StatusOr<GraphSource> OpenGguf(const std::string& path, const GraphOptions& options);

// Gives a graph the weights of a GGUF file by name, and their element types, whatever the graph
// says. InvalidArgument where the file lacks one, or has one of other sizes.
absl::Status TakeWeights(const std::string& path, GraphSource* source);

}  // namespace renga
