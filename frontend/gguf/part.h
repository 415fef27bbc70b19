// One GGUF file: a whole model, or one part of a split one.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "frontend/gguf/metadata.h"
#include "frontend/gguf/tensor_table.h"
#include "ir/base/mapped_file.h"

namespace renga {

// Owns the mapping that its metadata and tensors point into; moving it keeps them valid.
struct GgufPart {
  MappedFile file;
  uint32_t version = 0;       // 2 or 3, which differ in nothing that matters here
  uint64_t alignment = 0;     // bytes, a power of two: general.alignment, 32 where absent
  uint64_t header_bytes = 0;  // header, metadata and tensor table are the bytes 0..header_bytes
  uint64_t data_offset = 0;   // header_bytes rounded up to the alignment: the data section's start.
                              // May lie past the end of a file without tensors.
  Metadata metadata;
  std::vector<GgufTensor> tensors;  // in the order of the file's table
};

// Maps and checks the file at `path`, whose tensors get the part number `part`. All that can be
// wrong with a single file is found here, except for names that occur twice. Messages begin with
// the path and say at which byte.
absl::StatusOr<GgufPart> ReadGgufPart(const std::string& path, uint32_t part);

}  // namespace renga
