// Writes a synthetic model at the speed of the disk.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "tests/bench/synthetic/shapes.h"

namespace renga::synthetic {

// The GGUF file `path`, all or nothing; its size in bytes. Weights are stretches of a pattern of
// random blocks for each type and width, long enough that no two rows of a matrix are equal. Equal
// models are equal files. ResourceExhausted when the disk is full, else InvalidArgument.
absl::StatusOr<uint64_t> WriteModel(const Model& model, const std::string& path, int threads);

}  // namespace renga::synthetic
