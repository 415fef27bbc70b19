// Structures of the C interface, which grow from version to version: each begins with its size, and
// what either side does not know of has its default.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ir/base/status.h"
#include "renga/renga.h"
#include "tools/library/error.h"

namespace renga {

// More than any version will have; whatever says so is no structure of ours.
inline constexpr size_t kMaxStructureBytes = 4096;

// Bytes that a structure had when it first came out. One that has grown since says so here.
template <typename T>
inline constexpr size_t kFirstBytes = sizeof(T);

template <>
inline constexpr size_t kFirstBytes<renga_options> = offsetof(renga_options, kv_types);
template <>
inline constexpr size_t kFirstBytes<renga_request> = offsetof(renga_request, shift);
template <>
inline constexpr size_t kFirstBytes<renga_output> = offsetof(renga_output, logprobs);

// What a structure is where nobody says anything; `size` is not looked at.
template <typename T>
T DefaultStructure();

template <typename T>
bool IsSize(size_t size) {
  return size >= kFirstBytes<T> && size <= kMaxStructureBytes;
}

// Of a caller's structure of `size` bytes, sets what this library knows to the default and the rest
// to 0. Nothing where that is no size.
template <typename T>
void InitStructure(T* structure, size_t size) {
  if (structure == nullptr || !IsSize<T>(size)) return;
  std::memset(static_cast<void*>(structure), 0, size);
  T value = DefaultStructure<T>();
  value.size = size;
  std::memcpy(static_cast<void*>(structure), &value, std::min(size, sizeof(T)));
}

// InvalidArgument for null and a size that no version has.
template <typename T>
absl::Status CheckStructure(const T* given, std::string_view what) {
  RENGA_RETURN_IF_ERROR(CheckGiven(given, what));
  if (IsSize<T>(given->size)) return absl::OkStatus();
  return absl::InvalidArgumentError(StrCat(what, ": size: expected ", kFirstBytes<T>,
                                           " bytes or more, got ", given->size,
                                           "; set it with its init function"));
}

// What a caller gives, with defaults for what it does not know of. InvalidArgument also where it
// uses something that this library does not know of.
template <typename T>
absl::StatusOr<T> ReadStructure(const T* given, std::string_view what) {
  RENGA_RETURN_IF_ERROR(CheckStructure(given, what));
  const auto* bytes = reinterpret_cast<const unsigned char*>(given);
  const size_t known = std::min(given->size, sizeof(T));
  if (std::any_of(bytes + known, bytes + given->size, [](unsigned char b) { return b != 0; })) {
    return absl::InvalidArgumentError(
        StrCat(what, ": uses what only a later version of the library knows"));
  }
  T value = DefaultStructure<T>();
  std::memcpy(static_cast<void*>(&value), bytes, known);
  return value;
}

// What a caller gets, as far as it knows of it; its size stays. CheckStructure has passed it.
template <typename T>
void WriteStructure(T value, T* out) {
  value.size = out->size;
  std::memset(static_cast<void*>(out), 0, value.size);
  std::memcpy(static_cast<void*>(out), &value, std::min(value.size, sizeof(T)));
}

}  // namespace renga
