#include "frontend/gguf/gguf.h"

#include <utility>

#include "frontend/gguf/format_error.h"
#include "frontend/gguf/split.h"
#include "ir/base/status.h"

namespace renga {

absl::StatusOr<GgufFile> GgufFile::Open(const std::string& path) {
  GgufFile model;
  RENGA_ASSIGN_OR_RETURN(model.parts_, ReadGgufParts(path));
  if (model.parts_.size() == 1) {
    model.tensors_ = std::move(model.parts_[0].tensors);
  } else {
    for (GgufPart& part : model.parts_) {
      model.tensors_.insert(model.tensors_.end(), part.tensors.begin(), part.tensors.end());
      part.tensors = {};
    }
  }
  model.index_.reserve(model.tensors_.size());
  for (uint32_t i = 0; i < model.tensors_.size(); ++i) {
    const GgufTensor& tensor = model.tensors_[i];
    const auto [found, added] = model.index_.emplace(ToAbsl(tensor.name), i);
    if (added) continue;
    const GgufTensor& first = model.tensors_[found->second];
    const std::string& file = model.parts_[tensor.part].file.path();
    const std::string& first_file = model.parts_[first.part].file.path();
    return Annotate(CorruptError(tensor.entry_offset, "tensor ", Quote(tensor.name),
                                 ": expected every name once, got it again; it is first at byte ",
                                 first.entry_offset, first.part == tensor.part ? "" : " of ",
                                 first.part == tensor.part ? "" : first_file),
                    file);
  }
  return model;
}

uint64_t GgufFile::total_bytes() const {
  uint64_t bytes = 0;
  for (const GgufPart& part : parts_) bytes += part.file.size();
  return bytes;
}

const GgufTensor* GgufFile::FindTensor(std::string_view name) const {
  const auto found = index_.find(ToAbsl(name));
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

}  // namespace renga
