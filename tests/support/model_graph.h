// A model file's graph with its weights, for the reference interpreter.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "frontend/gguf/gguf.h"
#include "frontend/models/model.h"
#include "ir/base/status.h"
#include "ir/reference/interpreter.h"

namespace renga {

struct ModelGraph {
  std::shared_ptr<const GgufFile> file;
  Graph graph;
  WeightBytes weights;  // of `file`, which it keeps

  static absl::StatusOr<ModelGraph> Open(const std::string& path, DType kv_type,
                                         int64_t context = 256) {
    ModelGraph opened;
    RENGA_ASSIGN_OR_RETURN(GgufFile file, GgufFile::Open(path));
    opened.file = std::make_shared<const GgufFile>(std::move(file));
    GraphOptions options;
    options.context = context;
    options.k_type = options.v_type = kv_type;
    RENGA_ASSIGN_OR_RETURN(Model model, BuildModel(*opened.file, options));
    opened.graph = std::move(model.graph);
    opened.weights =
        [file = opened.file](const std::string& name) -> absl::StatusOr<absl::Span<const uint8_t>> {
      const GgufTensor* tensor = file->FindTensor(name);
      if (tensor == nullptr) return absl::NotFoundError(StrCat("no tensor ", name));
      return file->data(*tensor);
    };
    return opened;
  }
};

}  // namespace renga
