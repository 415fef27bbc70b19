// The metadata of a GGUF file: an ordered list of keys and values with typed lookup.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "frontend/gguf/metadata_value.h"

namespace renga {

struct MetaEntry {
  std::string_view key;  // a view into the mapped file
  MetaValue value;
};

// Borrows the mapped file. The Get functions return NotFound when the key is missing and
// InvalidArgument when the value is of another type or does not fit (the conversions are
// MetaValue's); the message names file, key, expected and got. The ...Or functions return their
// default for a missing key only: a value of a wrong type stays an error.
class Metadata {
 public:
  // Reads `count` entries at the cursor, which the caller has found to be a sane number.
  // A key that is there twice is an error. `path` names the file in errors.
  static absl::StatusOr<Metadata> Read(std::string path, uint64_t count, ByteCursor& cursor);

  absl::Span<const MetaEntry> entries() const { return entries_; }  // in file order
  const MetaValue* Find(std::string_view key) const;                // null: no such key

  absl::StatusOr<uint64_t> GetUint(std::string_view key) const;
  absl::StatusOr<int64_t> GetInt64(std::string_view key) const;
  absl::StatusOr<float> GetFloat(std::string_view key) const;
  absl::StatusOr<bool> GetBool(std::string_view key) const;
  absl::StatusOr<std::string_view> GetString(std::string_view key) const;

  absl::StatusOr<uint64_t> GetUintOr(std::string_view key, uint64_t otherwise) const;
  absl::StatusOr<int64_t> GetInt64Or(std::string_view key, int64_t otherwise) const;
  absl::StatusOr<float> GetFloatOr(std::string_view key, float otherwise) const;
  absl::StatusOr<bool> GetBoolOr(std::string_view key, bool otherwise) const;
  absl::StatusOr<std::string_view> GetStringOr(std::string_view key,
                                               std::string_view otherwise) const;

  absl::StatusOr<std::vector<int64_t>> GetIntArray(std::string_view key) const;
  absl::StatusOr<std::vector<float>> GetFloatArray(std::string_view key) const;
  absl::StatusOr<std::vector<bool>> GetBoolArray(std::string_view key) const;
  absl::StatusOr<std::vector<std::string_view>> GetStringArray(std::string_view key) const;

 private:
  template <typename T>
  absl::StatusOr<T> Get(std::string_view key, std::string_view expected,
                        absl::StatusOr<T> (MetaValue::*as)() const) const;

  std::string path_;
  std::vector<MetaEntry> entries_;
  absl::flat_hash_map<absl::string_view, uint32_t> index_;  // key -> place in entries_
};

}  // namespace renga
