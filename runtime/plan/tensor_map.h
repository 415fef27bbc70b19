// Tensor maps: 128 bytes that describe a tensor in a GPU's memory and the tiles that its copy
// engine takes of it ("Tensor Map Object Management" of the CUDA Driver API). What the bytes are is
// the device's affair; here are the values that go into them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/plan/gpu.h"

namespace renga::plan {

inline constexpr size_t kTensorMapBytes = 128, kTensorMapAlignment = 64;
inline constexpr size_t kMinMapAxes = 2, kMaxMapAxes = 3;  // kernels load tiles of two and three
inline constexpr int32_t kCopyEngineSm = 90;               // the first that takes them

// A TensorMap with an address and its sizes.
struct TensorMapSpec {
  uint64_t address = 0;
  DType type = DType::kF16;
  uint32_t axes = 0;                          // of the following, fastest first; the rest is 1, 0
  std::array<uint64_t, kMaxMapAxes> sizes;    // elements
  std::array<uint64_t, kMaxMapAxes> strides;  // bytes; [0] is not used
  std::array<uint32_t, kMaxMapAxes> tile;     // elements
  Swizzle swizzle = Swizzle::kNone;
  friend bool operator==(const TensorMapSpec&, const TensorMapSpec&) = default;
};

using EncodedTensorMap = std::array<uint8_t, kTensorMapBytes>;

// What a device gives: the bytes for its kernels. For specs of valid plans it must not fail but for
// reasons of its own.
using TensorMapEncoder = std::function<absl::StatusOr<EncodedTensorMap>(const TensorMapSpec&)>;

// With symbol i at symbols[i]. Errors as Evaluate; InvalidArgument for a number of axes that no
// kernel loads tiles of.
absl::StatusOr<TensorMapSpec> SpecOf(const TensorMap& map, uint64_t address,
                                     absl::Span<const int64_t> symbols);

// Ok where the driver takes it. InvalidArgument: "strides: expected ..., got ...".
absl::Status CheckTensorMap(const TensorMapSpec& spec);

// Bytes from its address to the end of its last element, of a spec that was checked. More than
// kMaxBytes (layout.h): that or anything above.
uint64_t ExtentBytes(const TensorMapSpec& spec);

}  // namespace renga::plan
