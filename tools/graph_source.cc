#include "tools/graph_source.h"

#include <utility>
#include <vector>

#include "frontend/gguf/gguf.h"
#include "ir/base/status.h"

namespace renga {
namespace {

WeightBytes BytesOf(std::shared_ptr<const GgufFile> file) {
  return [file = std::move(file)](
             const std::string& name) -> absl::StatusOr<absl::Span<const uint8_t>> {
    const GgufTensor* tensor = file->FindTensor(name);
    if (tensor == nullptr) {
      return absl::InvalidArgumentError(StrCat("expected the weight @", name, ", got none"));
    }
    return file->data(*tensor);
  };
}

}  // namespace

absl::StatusOr<GraphSource> OpenGguf(const std::string& path, const GraphOptions& options) {
  RENGA_ASSIGN_OR_RETURN(GgufFile opened, GgufFile::Open(path));
  const auto file = std::make_shared<const GgufFile>(std::move(opened));
  RENGA_ASSIGN_OR_RETURN(Model model, BuildModel(*file, options));
  return GraphSource{path, std::move(model.graph), BytesOf(file), path};
}

absl::Status TakeWeights(const std::string& path, GraphSource* source) {
  RENGA_ASSIGN_OR_RETURN(GgufFile opened, GgufFile::Open(path));
  const auto file = std::make_shared<const GgufFile>(std::move(opened));
  for (const ValueId id : source->graph.weights) {
    Value& value = source->graph.values[id];
    if (value.packed()) continue;
    const GgufTensor* tensor = file->FindTensor(value.name);
    if (tensor == nullptr) {
      return absl::InvalidArgumentError(StrCat(path, ": expected the weight ", RefText(value),
                                               " of ", source->label,
                                               ", got none; is it the same model?"));
    }
    TensorType type;
    type.dtype = tensor->type;
    for (const int64_t size : tensor->shape()) type.shape.emplace_back(size);
    if (type.shape != value.type.shape) {
      return absl::InvalidArgumentError(StrCat(path, ": ", RefText(value), ": expected ",
                                               ToString(value.type), " as in ", source->label,
                                               ", got ", ToString(type)));
    }
    value.type.dtype = type.dtype;
  }
  // Another file may have types that the layouts do not accept; values are the same without.
  RemovePacking(source->graph);
  source->weights = BytesOf(file);
  source->weights_label = path;
  return absl::OkStatus();
}

}  // namespace renga
