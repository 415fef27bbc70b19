// A GGUF file as fields that a test changes and writes again.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "tests/support/gguf_writer.h"

namespace renga::faults {

// Metadata and tensors of the file, with their bytes. Errors as GgufFile::Open.
absl::StatusOr<GgufWriter> EditableGguf(const std::string& path);

// Null: none of that name.
GgufWriter::Tensor* FindTensor(GgufWriter* gguf, std::string_view name);
GgufWriter::Entry* FindEntry(GgufWriter* gguf, std::string_view key);

// Leaves the first `tokens` of the vocabulary, which must be texts without merges.
void CutTokens(GgufWriter* gguf, uint64_t tokens);
// Leaves the first rows of a matrix.
void CutRows(GgufWriter::Tensor* matrix, uint64_t rows);
// Every value of an f32 tensor times `factor`, and `add` more.
void Rescale(GgufWriter::Tensor* tensor, float factor, float add);

}  // namespace renga::faults
