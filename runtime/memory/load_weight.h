// Reading one weight: its digest, and its bytes in another layout where that is wanted.
#pragma once

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "ir/base/digest.h"
#include "ir/base/mapped_file.h"
#include "runtime/plan/plan.h"

namespace renga {

// Where the bytes of a weight lie, and where they go.
struct WeightLoad {
  const MappedFile* file = nullptr;
  uint64_t offset = 0;  // in `file`
  bool packed = false;  // in the weight's layout there; else in the model file's
  // Room for the bytes in the other layout, or where the weight has none as they are; null: they
  // stay where they lie.
  uint8_t* to = nullptr;
};

// Reads all bytes once, in pieces; pages of a file whose bytes went elsewhere leave the resident
// set. Returns the digest of what was read. `advance` is told the bytes of every piece. Errors are
// those of Pack and Unpack, which a valid plan has not.
absl::StatusOr<Digest> LoadWeight(const plan::Weight& weight, const WeightLoad& load,
                                  absl::FunctionRef<void(int64_t)> advance);

}  // namespace renga
