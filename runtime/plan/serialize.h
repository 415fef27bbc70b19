// The plan on disk: the FlatBuffer of plan.fbs, then a trailer of 32 bytes, little-endian:
//   0  8 bytes  "RNGPLAN" and a zero byte
//   8  u32      format version (plan::kFormatVersion)
//  12  u32      zero
//  16  2 x u64  XXH3-128 digest, high then low, of every byte before it
// The digest comes first when reading: damage is told from malice, and from a newer version.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/plan/plan.h"

namespace renga::plan {

// True when the bytes are, or once were, a plan file: either end still says so.
bool IsPlanFile(absl::Span<const uint8_t> bytes);

// The whole file. ResourceExhausted when the content does not fit a FlatBuffer (2 GiB).
absl::StatusOr<std::string> Serialize(const Plan& plan);

// Reads and validates (validate.h) the whole file; `file` names it in errors.
//   InvalidArgument     not a plan, or one whose content is impossible
//   DataLoss            truncated, or the digest does not match
//   FailedPrecondition  another format version
absl::StatusOr<Plan> Deserialize(absl::Span<const uint8_t> bytes, std::string_view file);

// Deserialize of a file; further errors as MappedFile::Open.
absl::StatusOr<Plan> LoadPlan(const std::string& path);

// `body` with a trailer: what Serialize does last. For tests that need a damaged body under a right
// digest.
std::string Seal(std::string_view body, uint32_t version = kFormatVersion);
inline constexpr size_t kTrailerBytes = 32;

}  // namespace renga::plan
