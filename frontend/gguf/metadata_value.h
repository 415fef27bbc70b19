// One value of a GGUF file's metadata: a typed view into the mapped file.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "frontend/gguf/byte_cursor.h"

namespace renga {

// The numbers are those on disk (enum gguf_type of ggml's gguf.h).
enum class MetaType : uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11,
  kF64 = 12,
};

// "u8", "string", ...
std::string_view Name(MetaType type);

// Nullopt when `id` is none of the 13.
std::optional<MetaType> MetaTypeFromId(uint32_t id);

// A view, 48 bytes however large the value: an array of 150,000 strings is checked once when it is
// read and walked again by whoever asks for it. Valid while the mapped file is. The bytes of a
// mapped file may be changed by others at any time, so every walk checks its bounds anew.
class MetaValue {
 public:
  // Reads a value of `type` at the cursor and moves behind it. Every length is checked: arrays fit
  // in the file, strings in arrays too, booleans are 0 or 1, arrays nest at most 8 deep.
  static absl::StatusOr<MetaValue> Read(MetaType type, ByteCursor& cursor);

  MetaType type() const { return type_; }
  bool is_array() const { return type_ == MetaType::kArray; }
  MetaType element_type() const { return element_; }  // of an array; type() for others
  uint64_t size() const { return size_; }             // elements of an array; 1 for others
  uint64_t offset() const { return offset_; }         // byte of the file at which the value begins

  // "u32", "array of 3 string": the "got" of error messages.
  std::string TypeText() const;

  // The value, converted where nothing is lost: an integer of any width that fits, f32 or f64. Any
  // other type is InvalidArgument "expected ..., got ...".
  absl::StatusOr<uint64_t> AsUint() const;
  absl::StatusOr<int64_t> AsInt() const;
  absl::StatusOr<float> AsFloat() const;  // an f64 is rounded; one beyond f32's range is an error
  absl::StatusOr<bool> AsBool() const;
  absl::StatusOr<std::string_view> AsString() const;

  // As above for the elements of an array, in order. The strings are views into the file.
  absl::StatusOr<std::vector<int64_t>> AsIntArray() const;
  absl::StatusOr<std::vector<float>> AsFloatArray() const;
  absl::StatusOr<std::vector<bool>> AsBoolArray() const;
  absl::StatusOr<std::vector<std::string_view>> AsStringArray() const;

  // The first `limit` elements of an array of anything, arrays included.
  absl::StatusOr<std::vector<MetaValue>> AsItems(uint64_t limit) const;

 private:
  static absl::StatusOr<MetaValue> ReadNested(MetaType type, ByteCursor& cursor, int depth);
  absl::Status ReadElements(ByteCursor& cursor, int depth) const;
  absl::Status Mismatch(std::string_view expected) const;
  template <typename T, typename Convert>
  absl::StatusOr<std::vector<T>> Elements(Convert convert) const;

  MetaType type_ = MetaType::kU8;
  MetaType element_ = MetaType::kU8;
  uint64_t size_ = 1;
  uint64_t offset_ = 0;
  absl::Span<const uint8_t> bytes_;  // the scalars, or the length-prefixed strings or arrays
};

}  // namespace renga
