#include "frontend/gguf/metadata.h"

#include <utility>

#include "frontend/gguf/format_error.h"
#include "ir/base/status.h"

namespace renga {
namespace {

absl::StatusOr<MetaEntry> ReadEntry(ByteCursor& cursor) {
  MetaEntry entry;
  RENGA_ASSIGN_OR_RETURN(entry.key, cursor.String("metadata key"));
  const uint64_t type_offset = cursor.position();
  absl::StatusOr<uint32_t> id = cursor.U32("type of the value");
  if (!id.ok()) return Annotate(id.status(), Quote(entry.key));
  const std::optional<MetaType> type = MetaTypeFromId(*id);
  if (!type.has_value()) {
    return Annotate(
        CorruptError(type_offset, "type of the value: expected a number from 0 to 12, got ", *id),
        Quote(entry.key));
  }
  absl::StatusOr<MetaValue> value = MetaValue::Read(*type, cursor);
  if (!value.ok()) return Annotate(value.status(), Quote(entry.key));
  entry.value = *value;
  return entry;
}

}  // namespace

absl::StatusOr<Metadata> Metadata::Read(std::string path, uint64_t count, ByteCursor& cursor) {
  Metadata metadata;
  metadata.path_ = std::move(path);
  metadata.entries_.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t offset = cursor.position();
    absl::StatusOr<MetaEntry> entry = ReadEntry(cursor);
    if (!entry.ok()) {
      return Annotate(entry.status(), StrCat("metadata ", i + 1, " of ", count));
    }
    const auto [found, added] = metadata.index_.emplace(ToAbsl(entry->key), i);
    if (!added) {
      return CorruptError(offset, "metadata ", i + 1, " of ", count,
                          ": expected every key once, got ", Quote(entry->key),
                          " again, which is metadata ", found->second + 1, " too");
    }
    metadata.entries_.push_back(*entry);
  }
  return metadata;
}

const MetaValue* Metadata::Find(std::string_view key) const {
  const auto found = index_.find(ToAbsl(key));
  return found == index_.end() ? nullptr : &entries_[found->second].value;
}

template <typename T>
absl::StatusOr<T> Metadata::Get(std::string_view key, std::string_view expected,
                                absl::StatusOr<T> (MetaValue::*as)() const) const {
  const MetaValue* value = Find(key);
  if (value == nullptr) {
    return absl::NotFoundError(
        StrCat(path_, ": metadata ", Quote(key), ": expected ", expected, ", got no such key"));
  }
  absl::StatusOr<T> converted = (value->*as)();
  if (!converted.ok()) {
    return Annotate(converted.status(),
                    StrCat(path_, ": metadata ", Quote(key), " at byte ", value->offset()));
  }
  return converted;
}

absl::StatusOr<uint64_t> Metadata::GetUint(std::string_view key) const {
  return Get(key, "an integer", &MetaValue::AsUint);
}

absl::StatusOr<int64_t> Metadata::GetInt64(std::string_view key) const {
  return Get(key, "an integer", &MetaValue::AsInt);
}

absl::StatusOr<float> Metadata::GetFloat(std::string_view key) const {
  return Get(key, "a float", &MetaValue::AsFloat);
}

absl::StatusOr<bool> Metadata::GetBool(std::string_view key) const {
  return Get(key, "a bool", &MetaValue::AsBool);
}

absl::StatusOr<std::string_view> Metadata::GetString(std::string_view key) const {
  return Get(key, "a string", &MetaValue::AsString);
}

absl::StatusOr<uint64_t> Metadata::GetUintOr(std::string_view key, uint64_t otherwise) const {
  if (Find(key) == nullptr) return otherwise;
  return GetUint(key);
}

absl::StatusOr<int64_t> Metadata::GetInt64Or(std::string_view key, int64_t otherwise) const {
  if (Find(key) == nullptr) return otherwise;
  return GetInt64(key);
}

absl::StatusOr<float> Metadata::GetFloatOr(std::string_view key, float otherwise) const {
  if (Find(key) == nullptr) return otherwise;
  return GetFloat(key);
}

absl::StatusOr<bool> Metadata::GetBoolOr(std::string_view key, bool otherwise) const {
  if (Find(key) == nullptr) return otherwise;
  return GetBool(key);
}

absl::StatusOr<std::string_view> Metadata::GetStringOr(std::string_view key,
                                                       std::string_view otherwise) const {
  if (Find(key) == nullptr) return otherwise;
  return GetString(key);
}

absl::StatusOr<std::vector<int64_t>> Metadata::GetIntArray(std::string_view key) const {
  return Get(key, "an array of integers", &MetaValue::AsIntArray);
}

absl::StatusOr<std::vector<float>> Metadata::GetFloatArray(std::string_view key) const {
  return Get(key, "an array of floats", &MetaValue::AsFloatArray);
}

absl::StatusOr<std::vector<bool>> Metadata::GetBoolArray(std::string_view key) const {
  return Get(key, "an array of bools", &MetaValue::AsBoolArray);
}

absl::StatusOr<std::vector<std::string_view>> Metadata::GetStringArray(std::string_view key) const {
  return Get(key, "an array of strings", &MetaValue::AsStringArray);
}

}  // namespace renga
