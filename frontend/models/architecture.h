// An architecture: the name GGUF gives it and the function that writes its graph. One file each.
#pragma once

#include <string_view>

#include "absl/types/span.h"
#include "frontend/models/model.h"

namespace renga {

class ModelBuilder;

struct Architecture {
  std::string_view name;  // general.architecture
  // Reads the hyperparameters and writes the graph; errors stay in the builder.
  void (*build)(ModelBuilder& builder);
};

extern const Architecture kLlama;
extern const Architecture kQwen2;

// All architectures, sorted by name.
absl::Span<const Architecture* const> AllArchitectures();

// As BuildModel, with an architecture of the caller's: the seam that tests of the weight accounting
// use.
absl::StatusOr<Model> BuildModelAs(const Architecture& architecture, const GgufFile& file,
                                   const GraphOptions& options);

}  // namespace renga
