#include "frontend/models/model.h"

#include <algorithm>
#include <string>

#include "frontend/models/architecture.h"
#include "frontend/models/builder.h"
#include "frontend/models/tokenizer_data.h"
#include "ir/base/status.h"

namespace renga {
namespace {

constexpr const Architecture* kArchitectures[] = {&kLlama, &kQwen2};

std::string KnownArchitectures() {
  std::string names;
  for (const Architecture* architecture : kArchitectures) {
    StrAppend(&names, names.empty() ? "" : ", ", architecture->name);
  }
  return names;
}

}  // namespace

absl::Span<const Architecture* const> AllArchitectures() { return kArchitectures; }

absl::StatusOr<Model> BuildModelAs(const Architecture& architecture, const GgufFile& file,
                                   const GraphOptions& options) {
  RENGA_ASSIGN_OR_RETURN(TokenizerData tokenizer, ReadTokenizer(file));
  ModelBuilder builder(file, architecture.name, options, tokenizer.size());
  architecture.build(builder);
  RENGA_ASSIGN_OR_RETURN(Model model, std::move(builder).Finish());
  for (const KvTypesOfLayers& some : options.kv_of_layers) {
    if (some.first >= 0 && some.last < model.info.layers) continue;
    return absl::InvalidArgumentError(
        StrCat(file.path(), ": types of K and V: expected layers from 0 to ", model.info.layers - 1,
               ", got ", some.first, "-", some.last, " (--kv-type)"));
  }
  model.tokenizer = std::move(tokenizer);
  return model;
}

absl::StatusOr<Model> BuildModel(const GgufFile& file, const GraphOptions& options) {
  RENGA_ASSIGN_OR_RETURN(const std::string_view name, file.GetString("general.architecture"));
  for (const Architecture* architecture : kArchitectures) {
    if (architecture->name == name) return BuildModelAs(*architecture, file, options);
  }
  return absl::UnimplementedError(StrCat(file.path(), ": general.architecture: expected one of ",
                                         KnownArchitectures(), ", got ", name));
}

absl::StatusOr<int64_t> DefaultContext(const GgufFile& file) {
  RENGA_ASSIGN_OR_RETURN(const std::string_view name, file.GetString("general.architecture"));
  RENGA_ASSIGN_OR_RETURN(const int64_t trained,
                         file.GetInt64Or(StrCat(name, ".context_length"), int64_t{4096}));
  return std::clamp<int64_t>(trained, 1, 4096);
}

}  // namespace renga
