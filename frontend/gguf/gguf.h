// A GGUF model as a container: metadata and tensors, checked and mapped, and no idea of what any of
// it means. Format: ggml's docs/gguf.md; tensor types: docs/gguf-types.md.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "frontend/gguf/metadata.h"
#include "frontend/gguf/part.h"
#include "frontend/gguf/tensor_table.h"

namespace renga {

// Owns the mapped files; move-only. Every view it hands out (keys, strings, names, data) points
// into them and stays valid as long as it lives, moves included. Const use is thread-safe.
class GgufFile {
 public:
  // Opens a single file, or all parts of a split model given its first. Everything is checked
  // before it is used or allocated for; nothing of the data section is read. Errors: NotFound for
  // a missing file or part, DataLoss where a file ends too early, Unimplemented for a version,
  // byte order or tensor type that is not read, InvalidArgument for the rest. Messages name file
  // and byte.
  static absl::StatusOr<GgufFile> Open(const std::string& path);

  GgufFile(GgufFile&&) = default;
  GgufFile& operator=(GgufFile&&) = default;

  const std::string& path() const { return parts_[0].file.path(); }
  absl::Span<const GgufPart> parts() const { return parts_; }  // at least one; the first as opened
  uint32_t version() const { return parts_[0].version; }
  uint64_t alignment() const { return parts_[0].alignment; }  // bytes, of the first part
  uint64_t total_bytes() const;                               // of all parts' files

  const Metadata& metadata() const { return parts_[0].metadata; }

  // All parts' tensors, part by part, each in the order of its table. Names are unique.
  absl::Span<const GgufTensor> tensors() const { return tensors_; }
  const GgufTensor* FindTensor(std::string_view name) const;  // null: no such tensor

  // The bytes of a tensor of this file.
  absl::Span<const uint8_t> data(const GgufTensor& tensor) const {
    return parts_[tensor.part].file.bytes().subspan(tensor.offset, tensor.bytes);
  }

  // Shorthands for metadata().
  const MetaValue* Find(std::string_view key) const { return metadata().Find(key); }
  absl::StatusOr<uint64_t> GetUint(std::string_view key) const { return metadata().GetUint(key); }
  absl::StatusOr<int64_t> GetInt64(std::string_view key) const { return metadata().GetInt64(key); }
  absl::StatusOr<float> GetFloat(std::string_view key) const { return metadata().GetFloat(key); }
  absl::StatusOr<bool> GetBool(std::string_view key) const { return metadata().GetBool(key); }
  absl::StatusOr<std::string_view> GetString(std::string_view key) const {
    return metadata().GetString(key);
  }
  absl::StatusOr<uint64_t> GetUintOr(std::string_view key, uint64_t otherwise) const {
    return metadata().GetUintOr(key, otherwise);
  }
  absl::StatusOr<int64_t> GetInt64Or(std::string_view key, int64_t otherwise) const {
    return metadata().GetInt64Or(key, otherwise);
  }
  absl::StatusOr<float> GetFloatOr(std::string_view key, float otherwise) const {
    return metadata().GetFloatOr(key, otherwise);
  }
  absl::StatusOr<bool> GetBoolOr(std::string_view key, bool otherwise) const {
    return metadata().GetBoolOr(key, otherwise);
  }
  absl::StatusOr<std::string_view> GetStringOr(std::string_view key,
                                               std::string_view otherwise) const {
    return metadata().GetStringOr(key, otherwise);
  }
  absl::StatusOr<std::vector<int64_t>> GetIntArray(std::string_view key) const {
    return metadata().GetIntArray(key);
  }
  absl::StatusOr<std::vector<float>> GetFloatArray(std::string_view key) const {
    return metadata().GetFloatArray(key);
  }
  absl::StatusOr<std::vector<bool>> GetBoolArray(std::string_view key) const {
    return metadata().GetBoolArray(key);
  }
  absl::StatusOr<std::vector<std::string_view>> GetStringArray(std::string_view key) const {
    return metadata().GetStringArray(key);
  }

 private:
  GgufFile() = default;

  std::vector<GgufPart> parts_;
  std::vector<GgufTensor> tensors_;
  absl::flat_hash_map<absl::string_view, uint32_t> index_;  // name -> place in tensors_
};

}  // namespace renga
