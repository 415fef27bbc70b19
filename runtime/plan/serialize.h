// The plan on disk: the FlatBuffer of plan.fbs, then, where weights are embedded, zeros up to a
// multiple of 4096 and Plan::data_bytes of data, then a trailer of 32 bytes, little-endian:
//   0  8 bytes  "RNGPLAN" and a zero byte
//   8  u32      format version (plan::kFormatVersion)
//  12  u32      bytes of the FlatBuffer where a data section follows, else zero
//  16  2 x u64  XXH3-128 digest, high then low, of the FlatBuffer and the trailer before it
// The data has digests of its own, one a weight, which are checked where the weights are used.
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

// The whole file of a plan without embedded weights (InvalidArgument for others).
// ResourceExhausted when the content does not fit a FlatBuffer (2 GiB).
absl::StatusOr<std::string> Serialize(const Plan& plan);

// What lies before and behind the Plan::data_bytes of the data section.
struct PlanEnds {
  std::string head;
  std::string trailer;
};
absl::StatusOr<PlanEnds> SerializeEnds(const Plan& plan);

// Alignment of the data section in the file and of weights in it: they are used where they lie.
inline constexpr uint64_t kPageBytes = 4096;
constexpr uint64_t AlignToPage(uint64_t bytes) {
  return (bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
}

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
