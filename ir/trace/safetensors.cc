#include "ir/trace/safetensors.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_replace.h"
#include "ir/base/output_file.h"
#include "ir/base/status.h"
#include "ir/trace/plain_text.h"
#include "nlohmann/json.hpp"

namespace renga {
namespace {

using Json = nlohmann::json;

constexpr uint64_t kPrefixBytes = 8;
constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // as the library of the format has it
constexpr uint64_t kDataAlignment = 64;
constexpr size_t kMaxRank = 8;
constexpr size_t kMaxTensors = size_t{1} << 20;
constexpr std::string_view kMetadataKey = "__metadata__";

struct TypeName {
  DType type;
  std::string_view name;
};
constexpr TypeName kTypeNames[] = {
    {DType::kF32, "F32"}, {DType::kF16, "F16"}, {DType::kBF16, "BF16"}, {DType::kI32, "I32"}};

std::optional<DType> TypeOf(std::string_view name) {
  for (const TypeName& row : kTypeNames) {
    if (row.name == name) return row.type;
  }
  return std::nullopt;
}

std::string_view NameOf(DType type) {
  for (const TypeName& row : kTypeNames) {
    if (row.type == type) return row.name;
  }
  return "";
}

// A name from the file as part of a message: short, and on one line.
std::string Shown(std::string_view name) {
  constexpr size_t kLongest = 64;
  std::string text = EncodePlainText(name.substr(0, kLongest));
  absl::StrReplaceAll({{"\n", "\\n"}, {"\t", "\\t"}}, &text);
  return StrCat("'", text, name.size() > kLongest ? "..." : "", "'");
}

struct HeaderTensor {
  std::string name;
  std::optional<std::string> dtype;
  std::optional<std::vector<uint64_t>> shape;
  std::optional<std::vector<uint64_t>> offsets;
};

// Takes the header apart as it is read and refuses at once what the format does not allow: a
// hostile header costs no more memory than a good one.
class HeaderReader {
 public:
  using number_integer_t = Json::number_integer_t;
  using number_unsigned_t = Json::number_unsigned_t;
  using number_float_t = Json::number_float_t;
  using string_t = Json::string_t;
  using binary_t = Json::binary_t;

  std::vector<std::pair<std::string, std::string>> metadata;
  std::vector<HeaderTensor> tensors;
  std::string error;

  bool start_object(size_t) {
    if (state_ == State::kStart) return Go(State::kTop);
    if (state_ == State::kEntry) return Go(State::kTensor);
    if (state_ == State::kMetadata) return Go(State::kMetadataKeys);
    return Unexpected("an object");
  }
  bool key(string_t& name) {
    if (state_ == State::kTop) return TopKey(name);
    if (state_ == State::kMetadataKeys) {
      if (!metadata_keys_.insert(name).second)
        return Fail(StrCat("metadata ", Shown(name), " twice"));
      metadata.emplace_back(name, "");
      return Go(State::kMetadataValue);
    }
    return TensorKey(name);
  }
  bool string(string_t& text) {
    if (state_ == State::kMetadataValue) {
      metadata.back().second = std::move(text);
      return Go(State::kMetadataKeys);
    }
    if (state_ != State::kDtype) return Unexpected("a text");
    tensors.back().dtype = std::move(text);
    return Go(State::kTensor);
  }
  bool start_array(size_t) {
    if (state_ != State::kShape && state_ != State::kOffsets) return Unexpected("a list");
    numbers_.clear();
    return Go(state_ == State::kShape ? State::kShapeNumbers : State::kOffsetNumbers);
  }
  bool number_unsigned(number_unsigned_t number) {
    if (state_ != State::kShapeNumbers && state_ != State::kOffsetNumbers) {
      return Unexpected("a number");
    }
    if (numbers_.size() == kMaxRank) return Fail(StrCat("a list of more than ", kMaxRank));
    numbers_.push_back(number);
    return true;
  }
  bool end_array() {
    const bool shape = state_ == State::kShapeNumbers;
    (shape ? tensors.back().shape : tensors.back().offsets) = numbers_;
    return Go(State::kTensor);
  }
  bool end_object() { return Go(state_ == State::kTop ? State::kEnd : State::kTop); }

  bool null() { return Unexpected("null"); }
  bool boolean(bool) { return Unexpected("true or false"); }
  bool number_integer(number_integer_t) { return Unexpected("a negative number"); }
  bool number_float(number_float_t, const string_t&) { return Unexpected("a fraction"); }
  bool binary(binary_t&) { return Unexpected("bytes"); }
  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception&) {
    return Fail(StrCat("no JSON from byte ", kPrefixBytes + position, " of the file on"));
  }

 private:
  enum class State {
    kStart,
    kTop,
    kEntry,
    kTensor,
    kDtype,
    kShape,
    kShapeNumbers,
    kOffsets,
    kOffsetNumbers,
    kMetadata,
    kMetadataKeys,
    kMetadataValue,
    kEnd,
  };

  bool Go(State state) {
    state_ = state;
    return true;
  }
  bool Fail(std::string what) {
    if (error.empty()) error = std::move(what);
    return false;
  }
  std::string Where() const {
    if (state_ == State::kMetadata || state_ == State::kMetadataKeys) return "metadata";
    if (state_ == State::kMetadataValue) return StrCat("metadata ", Shown(metadata.back().first));
    if (tensors.empty()) return "header";
    return StrCat("tensor ", Shown(tensors.back().name));
  }
  bool Unexpected(std::string_view got) {
    return Fail(StrCat(Where(), ": got ", got, " where the format has none"));
  }
  bool TopKey(const std::string& name) {
    if (!names_.insert(name).second) return Fail(StrCat("tensor ", Shown(name), " twice"));
    if (name == kMetadataKey) return Go(State::kMetadata);
    if (tensors.size() == kMaxTensors) return Fail(StrCat("more than ", kMaxTensors, " tensors"));
    tensors.push_back({name, {}, {}, {}});
    return Go(State::kEntry);
  }
  bool TensorKey(std::string_view name) {
    const HeaderTensor& tensor = tensors.back();
    const auto field = [&](bool known, State state) {
      return known ? Fail(StrCat(Where(), ": ", name, " twice")) : Go(state);
    };
    if (name == "dtype") return field(tensor.dtype.has_value(), State::kDtype);
    if (name == "shape") return field(tensor.shape.has_value(), State::kShape);
    if (name == "data_offsets") return field(tensor.offsets.has_value(), State::kOffsets);
    return Fail(StrCat(Where(), ": expected dtype, shape and data_offsets, got ", Shown(name)));
  }

  State state_ = State::kStart;
  std::vector<uint64_t> numbers_;
  absl::flat_hash_set<std::string> names_;
  absl::flat_hash_set<std::string> metadata_keys_;
};

// Bytes of a tensor; nullopt when they are more than any file has.
std::optional<uint64_t> BytesOf(DType type, const std::vector<uint64_t>& shape) {
  // A size of 0 makes all of it 0, but only if the others are sizes at all.
  const bool empty = std::find(shape.begin(), shape.end(), 0u) != shape.end();
  uint64_t bytes = static_cast<uint64_t>(RowBytes(type, 1));
  for (const uint64_t size : shape) {
    if (size > INT64_MAX) return std::nullopt;
    if (!empty && (__builtin_mul_overflow(bytes, size, &bytes) || bytes > INT64_MAX)) {
      return std::nullopt;
    }
  }
  return empty ? 0 : bytes;
}

struct PlacedTensor {
  SafeTensor tensor;
  uint64_t begin = 0, end = 0;  // bytes from the start of the data
};

absl::StatusOr<PlacedTensor> Place(const HeaderTensor& from) {
  const auto wrong = [&](const std::string& what) {
    return absl::InvalidArgumentError(StrCat("tensor ", Shown(from.name), ": ", what));
  };
  if (!from.dtype || !from.shape || !from.offsets || from.offsets->size() != 2) {
    return wrong("expected dtype, shape and two data_offsets");
  }
  const std::optional<DType> type = TypeOf(*from.dtype);
  if (!type)
    return wrong(StrCat("dtype: expected F32, F16, BF16 or I32, got ", Shown(*from.dtype)));
  const std::optional<uint64_t> bytes = BytesOf(*type, *from.shape);
  if (!bytes) return wrong(StrCat("sizes ", StrJoin(*from.shape, "x"), " are no file's"));
  PlacedTensor placed;
  placed.begin = (*from.offsets)[0];
  placed.end = (*from.offsets)[1];
  if (placed.end < placed.begin || placed.end - placed.begin != *bytes) {
    return wrong(StrCat("data_offsets: expected ", *bytes, " bytes for ", *from.dtype, " ",
                        StrJoin(*from.shape, "x"), ", got ", placed.begin, " to ", placed.end));
  }
  placed.tensor.name = from.name;
  placed.tensor.dtype = *type;
  placed.tensor.shape.assign(from.shape->begin(), from.shape->end());
  return placed;
}

// Puts the tensors in the order of their bytes, and checks that these fill [0, end).
absl::StatusOr<uint64_t> CheckPlaces(std::vector<PlacedTensor>& tensors) {
  std::stable_sort(tensors.begin(), tensors.end(), [](const auto& a, const auto& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  uint64_t end = 0;
  for (const PlacedTensor& placed : tensors) {
    if (placed.begin != end) {
      return absl::InvalidArgumentError(
          StrCat("tensor ", Shown(placed.tensor.name), ": expected its data at ", end, ", got ",
                 placed.begin, placed.begin < end ? ", which overlaps" : ", which leaves a gap"));
    }
    end = placed.end;
  }
  return end;
}

absl::StatusOr<SafeTensors> Parse(absl::Span<const uint8_t> bytes) {
  if (bytes.size() < kPrefixBytes) {
    return absl::DataLossError(StrCat("cut short: expected at least ", kPrefixBytes, " bytes, got ",
                                      bytes.size(), "; ", kPrefixBytes - bytes.size(),
                                      " bytes are missing"));
  }
  const uint64_t header_bytes = SafetensorsHeaderBytes(bytes);
  if (header_bytes == 0) {
    return absl::InvalidArgumentError("expected a safetensors file, got something else");
  }
  bytes.remove_prefix(kPrefixBytes);
  if (bytes.size() < header_bytes) {
    return absl::DataLossError(StrCat("cut short: the header has ", header_bytes, " bytes, ",
                                      header_bytes - bytes.size(), " bytes of it are missing"));
  }
  HeaderReader reader;
  const uint8_t* text = bytes.data();
  if (!Json::sax_parse(text, text + header_bytes, &reader)) {
    return absl::InvalidArgumentError(
        StrCat("header: ", reader.error.empty() ? "no JSON object" : reader.error));
  }
  bytes.remove_prefix(header_bytes);
  std::vector<PlacedTensor> placed;
  placed.reserve(reader.tensors.size());
  for (const HeaderTensor& tensor : reader.tensors) {
    RENGA_ASSIGN_OR_RETURN(PlacedTensor next, Place(tensor));
    placed.push_back(std::move(next));
  }
  RENGA_ASSIGN_OR_RETURN(const uint64_t end, CheckPlaces(placed));
  if (bytes.size() < end) {
    return absl::DataLossError(StrCat("cut short: expected ", end, " bytes of data, got ",
                                      bytes.size(), "; ", end - bytes.size(),
                                      " bytes are missing"));
  }
  if (bytes.size() > end) {
    return absl::InvalidArgumentError(
        StrCat("expected ", end, " bytes of data, got ", bytes.size() - end, " more"));
  }
  SafeTensors file;
  file.metadata = std::move(reader.metadata);
  for (PlacedTensor& next : placed) {
    next.tensor.data = bytes.subspan(next.begin, next.end - next.begin);
    file.tensors.push_back(std::move(next.tensor));
  }
  return file;
}

absl::StatusOr<std::string> JsonString(std::string_view text) {
  if (!IsUtf8(text)) {
    return absl::InvalidArgumentError(StrCat(Shown(text), ": expected valid UTF-8"));
  }
  return Json(std::string(text)).dump();
}

}  // namespace

const std::string* SafeTensors::FindMetadata(std::string_view key) const {
  for (const auto& [name, value] : metadata) {
    if (name == key) return &value;
  }
  return nullptr;
}

uint64_t SafetensorsHeaderBytes(absl::Span<const uint8_t> bytes) {
  if (bytes.size() < kPrefixBytes) return 0;
  uint64_t length = 0;
  for (size_t i = kPrefixBytes; i-- > 0;) length = length << 8 | bytes[i];
  if (length < 2 || length > kMaxHeaderBytes) return 0;
  return bytes.size() == kPrefixBytes || bytes[kPrefixBytes] == '{' ? length : 0;
}

absl::StatusOr<SafeTensors> ParseSafetensors(absl::Span<const uint8_t> bytes,
                                             const std::string& name) {
  absl::StatusOr<SafeTensors> file = Parse(bytes);
  if (!file.ok()) return Annotate(file.status(), name);
  return file;
}

absl::StatusOr<std::string> SafetensorsHeader(const SafeTensors& file) {
  std::string header = StrCat("{\"", kMetadataKey, "\":{");
  std::string_view separator = "";
  for (const auto& [key, value] : file.metadata) {
    RENGA_ASSIGN_OR_RETURN(const std::string key_text, JsonString(key));
    RENGA_ASSIGN_OR_RETURN(const std::string value_text, JsonString(value));
    StrAppend(&header, separator, key_text, ":", value_text);
    separator = ",";
  }
  header += "}";
  absl::flat_hash_set<std::string> names = {std::string(kMetadataKey)};
  uint64_t offset = 0;
  for (const SafeTensor& tensor : file.tensors) {
    if (!names.insert(tensor.name).second) {
      return absl::InvalidArgumentError(
          StrCat("tensor ", Shown(tensor.name), ": expected a name of its own"));
    }
    if (NameOf(tensor.dtype).empty()) {
      return absl::InvalidArgumentError(StrCat("tensor ", Shown(tensor.name),
                                               ": expected f32, f16, bf16 or i32, got ",
                                               Name(tensor.dtype)));
    }
    RENGA_ASSIGN_OR_RETURN(const std::string name, JsonString(tensor.name));
    const uint64_t end = offset + tensor.data.size();
    StrAppend(&header, ",", name, ":{\"dtype\":\"", NameOf(tensor.dtype), "\",\"shape\":[",
              StrJoin(tensor.shape, ","), "],\"data_offsets\":[", offset, ",", end, "]}");
    offset = end;
  }
  header += "}";
  const uint64_t used = kPrefixBytes + header.size();
  header.append((kDataAlignment - used % kDataAlignment) % kDataAlignment, ' ');
  if (header.size() > kMaxHeaderBytes) {
    return absl::InvalidArgumentError(StrCat("header: expected at most ", kMaxHeaderBytes,
                                             " bytes, got ", header.size(),
                                             "; keep fewer tensors"));
  }
  std::string prefix;
  for (size_t i = 0; i < kPrefixBytes; ++i) {
    prefix.push_back(static_cast<char>(header.size() >> (8 * i)));
  }
  return prefix + header;
}

absl::Status WriteSafetensors(const SafeTensors& file, const std::string& path) {
  absl::StatusOr<std::string> header = SafetensorsHeader(file);
  if (!header.ok()) return Annotate(header.status(), path);
  std::vector<std::string_view> parts = {*header};
  for (const SafeTensor& tensor : file.tensors) {
    parts.emplace_back(reinterpret_cast<const char*>(tensor.data.data()), tensor.data.size());
  }
  return WriteFileAtomically(path, parts);
}

}  // namespace renga
