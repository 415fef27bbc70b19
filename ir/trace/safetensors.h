// The safetensors container (https://github.com/huggingface/safetensors, "Format"): eight bytes
// with the header's length, little-endian; the header, a JSON object with element type, sizes and
// place of each tensor and a table of strings under "__metadata__"; then the tensors' bytes, one
// after another without gaps.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "ir/base/dtype.h"

namespace renga {

struct SafeTensor {
  std::string name;
  DType dtype = DType::kF32;  // f32, f16, bf16 or i32
  std::vector<int64_t> shape;
  absl::Span<const uint8_t> data;  // dense, little-endian; borrowed
};

struct SafeTensors {
  std::vector<std::pair<std::string, std::string>> metadata;  // valid UTF-8
  std::vector<SafeTensor> tensors;                            // in the order of their bytes

  // nullptr when there is none of that name.
  const std::string* FindMetadata(std::string_view key) const;
};

// The header's length as the file's first eight bytes give it; 0 where those do not begin a
// safetensors file.
uint64_t SafetensorsHeaderBytes(absl::Span<const uint8_t> bytes);

// Tensors point into `bytes`. Untrusted input: every place, size and type is checked. `name` stands
// in front of errors: DataLoss for a file that is cut short, with the number of missing bytes;
// InvalidArgument for anything else that is wrong.
absl::StatusOr<SafeTensors> ParseSafetensors(absl::Span<const uint8_t> bytes,
                                             const std::string& name);

// The file's bytes in front of the tensors' data, for the tensors in that order. Its length is a
// multiple of 64, so that a mapped file's data is aligned. InvalidArgument for two tensors of one
// name, a name that is reserved, or names and metadata that are no UTF-8.
absl::StatusOr<std::string> SafetensorsHeader(const SafeTensors& file);

// All or nothing, see WriteFileAtomically.
absl::Status WriteSafetensors(const SafeTensors& file, const std::string& path);

}  // namespace renga
