#include "frontend/gguf/metadata_value.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "frontend/gguf/format_error.h"
#include "ir/base/status.h"

namespace renga {
namespace {

// Deep enough for any sane file, shallow enough for any stack.
constexpr int kMaxArrayDepth = 8;

constexpr std::string_view kNames[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                       "bool", "string", "array", "u64", "i64", "f64"};

// Smallest number of bytes one value takes in the file: exact for scalars, the length field for a
// string, element type and count for an array.
uint64_t MinBytes(MetaType type) {
  switch (type) {
    case MetaType::kU8:
    case MetaType::kI8:
    case MetaType::kBool:
      return 1;
    case MetaType::kU16:
    case MetaType::kI16:
      return 2;
    case MetaType::kU32:
    case MetaType::kI32:
    case MetaType::kF32:
      return 4;
    case MetaType::kU64:
    case MetaType::kI64:
    case MetaType::kF64:
    case MetaType::kString:
      return 8;
    case MetaType::kArray:
      return 12;
  }
  return 1;  // unreachable: MetaTypeFromId lets no other value in
}

bool IsFloat(MetaType type) { return type == MetaType::kF32 || type == MetaType::kF64; }

bool IsInteger(MetaType type) {
  return !IsFloat(type) && type != MetaType::kBool && type != MetaType::kString &&
         type != MetaType::kArray;
}

// Any of the eight integer types: the value modulo 2^64, and whether it is below zero.
struct Integer {
  uint64_t bits;
  bool negative;

  bool FitsInt64() const { return negative || bits <= uint64_t{INT64_MAX}; }
  std::string Text() const { return negative ? StrCat(static_cast<int64_t>(bits)) : StrCat(bits); }
};

Integer Signed(int64_t value) { return {static_cast<uint64_t>(value), value < 0}; }

Integer LoadInteger(MetaType type, const uint8_t* data) {
  switch (type) {
    case MetaType::kI8:
      return Signed(Load<int8_t>(data));
    case MetaType::kU16:
      return {Load<uint16_t>(data), false};
    case MetaType::kI16:
      return Signed(Load<int16_t>(data));
    case MetaType::kU32:
      return {Load<uint32_t>(data), false};
    case MetaType::kI32:
      return Signed(Load<int32_t>(data));
    case MetaType::kU64:
      return {Load<uint64_t>(data), false};
    case MetaType::kI64:
      return Signed(Load<int64_t>(data));
    default:
      return {Load<uint8_t>(data), false};
  }
}

// What a walk over a value that was once checked says when its lengths no longer hold.
absl::Status ChangedError() {
  return absl::DataLossError("the file was changed while it was open");
}

absl::StatusOr<float> LoadFloat(MetaType type, const uint8_t* data) {
  if (type == MetaType::kF32) return Load<float>(data);
  const double value = Load<double>(data);
  if (std::isfinite(value) && std::abs(value) > double{std::numeric_limits<float>::max()}) {
    return absl::InvalidArgumentError(
        StrCat("expected a number in the range of f32, got f64 ", value));
  }
  return static_cast<float>(value);
}

}  // namespace

std::string_view Name(MetaType type) { return kNames[static_cast<uint32_t>(type)]; }

std::optional<MetaType> MetaTypeFromId(uint32_t id) {
  if (id > static_cast<uint32_t>(MetaType::kF64)) return std::nullopt;
  return static_cast<MetaType>(id);
}

absl::StatusOr<MetaValue> MetaValue::Read(MetaType type, ByteCursor& cursor) {
  return ReadNested(type, cursor, 0);
}

absl::StatusOr<MetaValue> MetaValue::ReadNested(MetaType type, ByteCursor& cursor, int depth) {
  MetaValue value;
  value.type_ = type;
  value.element_ = type;
  value.offset_ = cursor.position();
  if (type == MetaType::kArray) {
    if (depth == kMaxArrayDepth) {
      return CorruptError(cursor.position(), "arrays within arrays: expected at most ",
                          kMaxArrayDepth, " levels, got more");
    }
    const uint64_t type_offset = cursor.position();
    RENGA_ASSIGN_OR_RETURN(const uint32_t id, cursor.U32("element type of an array"));
    const std::optional<MetaType> element = MetaTypeFromId(id);
    if (!element.has_value()) {
      return CorruptError(type_offset, "element type of an array: expected a number from 0 to 12, ",
                          "got ", id);
    }
    value.element_ = *element;
    const uint64_t size_offset = cursor.position();
    RENGA_ASSIGN_OR_RETURN(value.size_, cursor.U64("length of an array"));
    if (value.size_ > cursor.remaining() / MinBytes(*element)) {
      return TruncatedError(size_offset, "length of an array of ", Name(*element),
                            ": expected at most ", cursor.remaining() / MinBytes(*element),
                            ", which fit in the rest of the file, got ", value.size_);
    }
  }
  const uint8_t* begin = cursor.data();
  const uint64_t start = cursor.position();
  RENGA_RETURN_IF_ERROR(value.ReadElements(cursor, depth));
  value.bytes_ = absl::MakeConstSpan(begin, cursor.position() - start);
  return value;
}

// Moves the cursor over all elements, checking them.
absl::Status MetaValue::ReadElements(ByteCursor& cursor, int depth) const {
  if (element_ == MetaType::kString) {
    for (uint64_t i = 0; i < size_; ++i) {
      RENGA_RETURN_IF_ERROR(cursor.String("a string").status());
    }
    return absl::OkStatus();
  }
  if (element_ == MetaType::kArray) {
    for (uint64_t i = 0; i < size_; ++i) {
      RENGA_RETURN_IF_ERROR(ReadNested(MetaType::kArray, cursor, depth + 1).status());
    }
    return absl::OkStatus();
  }
  const uint8_t* data = cursor.data();
  const uint64_t start = cursor.position();
  // note: no overflow, size_ is 1 or was checked against the rest of the file.
  RENGA_RETURN_IF_ERROR(
      cursor.Skip(size_ * MinBytes(element_), StrCat("a value of type ", Name(element_))));
  if (element_ == MetaType::kBool) {
    for (uint64_t i = 0; i < size_; ++i) {
      if (data[i] > 1) {
        return CorruptError(start + i, "a value of type bool: expected 0 or 1, got ", data[i]);
      }
    }
  }
  return absl::OkStatus();
}

std::string MetaValue::TypeText() const {
  if (!is_array()) return std::string(Name(type_));
  return StrCat("array of ", size_, " ", Name(element_));
}

absl::Status MetaValue::Mismatch(std::string_view expected) const {
  return absl::InvalidArgumentError(StrCat("expected ", expected, ", got ", TypeText()));
}

absl::StatusOr<uint64_t> MetaValue::AsUint() const {
  if (!IsInteger(type_)) return Mismatch("an integer");
  const Integer value = LoadInteger(type_, bytes_.data());
  if (value.negative) {
    return absl::InvalidArgumentError(
        StrCat("expected an integer of at least 0, got ", Name(type_), " ", value.Text()));
  }
  return value.bits;
}

absl::StatusOr<int64_t> MetaValue::AsInt() const {
  if (!IsInteger(type_)) return Mismatch("an integer");
  const Integer value = LoadInteger(type_, bytes_.data());
  if (!value.FitsInt64()) {
    return absl::InvalidArgumentError(
        StrCat("expected an integer below 2^63, got ", Name(type_), " ", value.Text()));
  }
  return static_cast<int64_t>(value.bits);
}

absl::StatusOr<float> MetaValue::AsFloat() const {
  if (!IsFloat(type_)) return Mismatch("a float");
  return LoadFloat(type_, bytes_.data());
}

absl::StatusOr<bool> MetaValue::AsBool() const {
  if (type_ != MetaType::kBool) return Mismatch("a bool");
  return bytes_[0] != 0;
}

absl::StatusOr<std::string_view> MetaValue::AsString() const {
  if (type_ != MetaType::kString) return Mismatch("a string");
  const absl::StatusOr<std::string_view> text = ByteCursor(bytes_).String("a string");
  if (!text.ok()) return ChangedError();
  return *text;
}

// The elements of an array of scalars, each passed through `convert`.
template <typename T, typename Convert>
absl::StatusOr<std::vector<T>> MetaValue::Elements(Convert convert) const {
  std::vector<T> elements;
  elements.reserve(size_);
  const uint64_t stride = MinBytes(element_);
  for (uint64_t i = 0; i < size_; ++i) {
    absl::StatusOr<T> element = convert(element_, bytes_.data() + i * stride);
    if (!element.ok()) return Annotate(element.status(), StrCat("element ", i));
    elements.push_back(*element);
  }
  return elements;
}

absl::StatusOr<std::vector<int64_t>> MetaValue::AsIntArray() const {
  if (!is_array() || !IsInteger(element_)) return Mismatch("an array of integers");
  return Elements<int64_t>([](MetaType type, const uint8_t* data) -> absl::StatusOr<int64_t> {
    const Integer value = LoadInteger(type, data);
    if (value.FitsInt64()) return static_cast<int64_t>(value.bits);
    return absl::InvalidArgumentError(StrCat("expected an integer below 2^63, got ", value.Text()));
  });
}

absl::StatusOr<std::vector<float>> MetaValue::AsFloatArray() const {
  if (!is_array() || !IsFloat(element_)) return Mismatch("an array of floats");
  return Elements<float>(LoadFloat);
}

absl::StatusOr<std::vector<bool>> MetaValue::AsBoolArray() const {
  if (!is_array() || element_ != MetaType::kBool) return Mismatch("an array of bools");
  return std::vector<bool>(bytes_.begin(), bytes_.end());
}

absl::StatusOr<std::vector<std::string_view>> MetaValue::AsStringArray() const {
  if (!is_array() || element_ != MetaType::kString) return Mismatch("an array of strings");
  std::vector<std::string_view> strings;
  strings.reserve(size_);
  ByteCursor cursor(bytes_);
  for (uint64_t i = 0; i < size_; ++i) {
    const absl::StatusOr<std::string_view> text = cursor.String("a string");
    if (!text.ok()) return ChangedError();
    strings.push_back(*text);
  }
  return strings;
}

absl::StatusOr<std::vector<MetaValue>> MetaValue::AsItems(uint64_t limit) const {
  if (!is_array()) return Mismatch("an array");
  std::vector<MetaValue> items;
  ByteCursor cursor(bytes_);
  for (uint64_t i = 0; i < std::min(size_, limit); ++i) {
    absl::StatusOr<MetaValue> item = Read(element_, cursor);
    if (!item.ok()) return ChangedError();
    // The cursor counts from the first element; the element's place in the file is wanted.
    item->offset_ += offset_ + sizeof(uint32_t) + sizeof(uint64_t);
    items.push_back(*item);
  }
  return items;
}

}  // namespace renga
