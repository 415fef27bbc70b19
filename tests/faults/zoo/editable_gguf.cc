#include "tests/faults/zoo/editable_gguf.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "frontend/gguf/gguf.h"
#include "ir/base/status.h"

namespace renga::faults {

absl::StatusOr<GgufWriter> EditableGguf(const std::string& path) {
  RENGA_ASSIGN_OR_RETURN(const GgufFile file, GgufFile::Open(path));
  GgufWriter gguf;
  gguf.alignment = file.alignment();
  const absl::Span<const uint8_t> bytes = file.parts()[0].file.bytes();
  const absl::Span<const MetaEntry> entries = file.metadata().entries();
  for (size_t i = 0; i < entries.size(); ++i) {
    const MetaValue& value = entries[i].value;
    // A value ends where the next key's length stands, or the table of tensors.
    const uint64_t end = i + 1 == entries.size()
                             ? file.tensors()[0].entry_offset
                             : static_cast<uint64_t>(entries[i + 1].key.data() -
                                                     reinterpret_cast<const char*>(bytes.data())) -
                                   sizeof(uint64_t);
    const uint64_t begin = value.offset();
    gguf.Add(std::string(entries[i].key), value.type(),
             {reinterpret_cast<const char*>(bytes.data()) + begin, end - begin});
  }
  for (const GgufTensor& tensor : file.tensors()) {
    const absl::Span<const uint8_t> data = file.data(tensor);
    gguf.AddTensor(std::string(tensor.name), tensor.type,
                   {tensor.shape().begin(), tensor.shape().end()},
                   {reinterpret_cast<const char*>(data.data()), data.size()});
  }
  return gguf;
}

GgufWriter::Tensor* FindTensor(GgufWriter* gguf, std::string_view name) {
  const auto found = std::find_if(gguf->tensors.begin(), gguf->tensors.end(),
                                  [&](const auto& tensor) { return tensor.name == name; });
  return found == gguf->tensors.end() ? nullptr : &*found;
}

GgufWriter::Entry* FindEntry(GgufWriter* gguf, std::string_view key) {
  const auto found = std::find_if(gguf->entries.begin(), gguf->entries.end(),
                                  [&](const auto& entry) { return entry.key == key; });
  return found == gguf->entries.end() ? nullptr : &*found;
}

namespace {

// Of an array as it stands in a file: element type, count, elements.
constexpr size_t kArrayHead = sizeof(uint32_t) + sizeof(uint64_t);

size_t BytesOfFirst(const std::string& array, uint64_t count) {
  uint32_t type = 0;
  std::memcpy(&type, array.data(), sizeof(type));
  if (static_cast<MetaType>(type) != MetaType::kString) return count * sizeof(float);
  size_t at = kArrayHead;
  for (uint64_t i = 0; i < count; ++i) {
    uint64_t size = 0;
    std::memcpy(&size, array.data() + at, sizeof(size));
    at += sizeof(size) + size;
  }
  return at - kArrayHead;
}

}  // namespace

void CutTokens(GgufWriter* gguf, uint64_t tokens) {
  for (const char* key :
       {"tokenizer.ggml.tokens", "tokenizer.ggml.scores", "tokenizer.ggml.token_type"}) {
    GgufWriter::Entry* const entry = FindEntry(gguf, key);
    if (entry == nullptr) continue;
    entry->value.resize(kArrayHead + BytesOfFirst(entry->value, tokens));
    std::memcpy(entry->value.data() + sizeof(uint32_t), &tokens, sizeof(tokens));
  }
  std::erase_if(gguf->entries,
                [](const auto& entry) { return entry.key.ends_with(".vocab_size"); });
}

void CutRows(GgufWriter::Tensor* matrix, uint64_t rows) {
  matrix->data.resize(matrix->data.size() / matrix->ne[1] * rows);
  matrix->ne[1] = rows;
}

void Rescale(GgufWriter::Tensor* tensor, float factor, float add) {
  std::vector<float> values(tensor->data.size() / sizeof(float));
  std::memcpy(values.data(), tensor->data.data(), tensor->data.size());
  for (float& value : values) value = value * factor + add;
  std::memcpy(tensor->data.data(), values.data(), tensor->data.size());
}

}  // namespace renga::faults
