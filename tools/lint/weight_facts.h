// What the checks want to know of every weight, gathered in one pass over the file.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "frontend/gguf/gguf.h"
#include "ir/base/digest.h"

namespace renga {

// Values are those of the reference dequantisers. Places count elements along the rows, from 0.
struct WeightFacts {
  bool decoded = false;  // false: the type has no decoder (i64), and only the digest is known
  int64_t elements = 0;
  int64_t nans = 0;
  int64_t infinities = 0;
  int64_t first_not_finite = -1;
  int64_t zeros = 0;     // of either sign
  bool constant = true;  // all values have the same bits
  float first = 0;       // the first value
  // The longest run of zeros, in whole stretches of kStretch elements.
  int64_t zero_run = 0;
  int64_t zero_run_at = -1;
  // Of types in scale_places.h: blocks whose scale is zero though their quants are not all alike,
  // so that something was stored and is lost; and such whose scale is NaN or infinite.
  int64_t blocks = 0;
  int64_t lost_blocks = 0;
  int64_t first_lost_block = -1;
  int64_t bad_scales = 0;
  // Of the bytes, in pieces that depend on type and shape alone: equal tensors have equal ones.
  Digest digest;

  bool all_zero() const { return decoded && zeros == elements; }
};

inline constexpr int64_t kStretch = 256;

struct WeightFactsOptions {
  int threads = 1;
  // Called now and then, from any thread, with bytes done of all; a false answer stops the reading
  // (Cancelled).
  std::function<bool(int64_t done, int64_t total)> progress;
};

// One entry a tensor of the file. Takes a few hundred KiB a thread however large the tensors are,
// beside the result. Errors: Cancelled; as MappedFile::Read.
absl::StatusOr<std::vector<WeightFacts>> ReadWeightFacts(const GgufFile& file,
                                                         const WeightFactsOptions& options);

}  // namespace renga
