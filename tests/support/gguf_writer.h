// Writes GGUF files for tests: valid ones, and ones that are broken in exactly one place. It shares
// no code with the reader.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "frontend/gguf/metadata_value.h"
#include "ir/base/dtype.h"

namespace renga {

// The bytes of a number as they stand in a file.
template <typename T>
std::string Raw(T value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof(T));
}

// Length and bytes of a string as they stand in a file.
inline std::string RawString(std::string_view text) {
  return Raw<uint64_t>(text.size()) + std::string(text);
}

// An array value whose elements are `elements`, already laid out; `count` may be a lie.
inline std::string RawArray(MetaType element, uint64_t count, std::string_view elements) {
  return Raw(static_cast<uint32_t>(element)) + Raw(count) + std::string(elements);
}

template <typename T>
std::string RawArray(MetaType element, const std::vector<T>& values) {
  std::string elements;
  for (const T& value : values) elements += Raw<T>(value);
  return RawArray(element, values.size(), elements);
}

inline std::string RawArray(const std::vector<std::string>& values) {
  std::string elements;
  for (const std::string& value : values) elements += RawString(value);
  return RawArray(MetaType::kString, values.size(), elements);
}

// Fill in the fields, call Bytes(), then ask where things went. Every field may be set to nonsense.
class GgufWriter {
 public:
  struct Entry {
    std::string key;
    uint32_t type;
    std::string value;
  };
  struct Tensor {
    std::string name;
    std::vector<uint64_t> ne;  // as in the file: fastest dimension first
    uint32_t type;
    std::string data;
    std::optional<uint32_t> rank;    // instead of ne.size()
    std::optional<uint64_t> offset;  // instead of the next aligned one
  };

  std::string magic = "GGUF";
  uint32_t version = 3;
  uint64_t alignment = 32;                 // of the layout; Add() the key general.alignment too
  std::optional<uint64_t> tensor_count;    // instead of tensors.size()
  std::optional<uint64_t> metadata_count;  // instead of entries.size()
  std::vector<Entry> entries;
  std::vector<Tensor> tensors;

  GgufWriter& Add(std::string key, MetaType type, std::string value) {
    entries.push_back({std::move(key), static_cast<uint32_t>(type), std::move(value)});
    return *this;
  }
  GgufWriter& AddU32(std::string key, uint32_t value) {
    return Add(std::move(key), MetaType::kU32, Raw(value));
  }
  GgufWriter& AddF32(std::string key, float value) {
    return Add(std::move(key), MetaType::kF32, Raw(value));
  }
  GgufWriter& AddString(std::string key, std::string_view value) {
    return Add(std::move(key), MetaType::kString, RawString(value));
  }

  // Row-major shape, outermost first. Data are bytes that count up where none are given.
  GgufWriter& AddTensor(std::string name, DType type, std::vector<int64_t> shape,
                        std::string data = "") {
    Tensor tensor{std::move(name), {shape.rbegin(), shape.rend()}, static_cast<uint32_t>(type)};
    if (data.empty()) {
      uint64_t elements = 1;
      for (int64_t size : shape) elements *= size;
      data.resize(elements / Info(type).block_elements * Info(type).block_bytes);
      for (size_t i = 0; i < data.size(); ++i) {
        data[i] = static_cast<char>(i * 7 + tensors.size());
      }
    }
    tensor.data = std::move(data);
    tensors.push_back(std::move(tensor));
    return *this;
  }

  std::string Bytes() {
    std::string out = magic + Raw(version) + Raw(tensor_count.value_or(tensors.size())) +
                      Raw(metadata_count.value_or(entries.size()));
    entry_offsets_.clear();
    tensor_offsets_.clear();
    for (const Entry& entry : entries) {
      entry_offsets_.push_back(out.size());
      out += RawString(entry.key) + Raw(entry.type) + entry.value;
    }
    uint64_t offset = 0;
    for (const Tensor& tensor : tensors) {
      tensor_offsets_.push_back(out.size());
      out += RawString(tensor.name) + Raw(tensor.rank.value_or(tensor.ne.size()));
      for (uint64_t size : tensor.ne) out += Raw(size);
      out += Raw(tensor.type) + Raw(tensor.offset.value_or(offset));
      offset = Aligned(offset + tensor.data.size());
    }
    header_bytes_ = out.size();
    for (const Tensor& tensor : tensors) {
      out.resize(Aligned(out.size()));
      out += tensor.data;
    }
    return out;
  }

  // Byte at which metadata entry / tensor entry `i` begins, valid after Bytes().
  uint64_t EntryOffset(size_t i) const { return entry_offsets_[i]; }
  uint64_t ValueOffset(size_t i) const { return entry_offsets_[i] + 12 + entries[i].key.size(); }
  uint64_t TensorOffset(size_t i) const { return tensor_offsets_[i]; }
  uint64_t header_bytes() const { return header_bytes_; }
  uint64_t data_offset() const { return Aligned(header_bytes_); }

 private:
  uint64_t Aligned(uint64_t offset) const {
    return (offset + alignment - 1) / alignment * alignment;
  }

  std::vector<uint64_t> entry_offsets_;
  std::vector<uint64_t> tensor_offsets_;
  uint64_t header_bytes_ = 0;
};

}  // namespace renga
