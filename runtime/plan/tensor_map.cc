#include "runtime/plan/tensor_map.h"

#include <algorithm>

#include "ir/base/status.h"
#include "runtime/plan/layout.h"

namespace renga::plan {
namespace {

// Limits of cuTensorMapEncodeTiled.
constexpr uint64_t kAddressAlignment = 16;
constexpr uint64_t kMaxMapSize = uint64_t{1} << 32;
constexpr uint64_t kStrideAlignment = 16;
constexpr uint64_t kEndOfStrides = uint64_t{1} << 40;
constexpr uint64_t kMaxTile = 256;
constexpr uint64_t kTileRowAlignment = 16;
constexpr uint64_t kSwizzledRow = 128;

// What our kernels take tiles of.
constexpr DType kMapTypes[] = {DType::kF16, DType::kBF16, DType::kF32};

uint64_t ElementBytes(DType type) { return static_cast<uint64_t>(Info(type).block_bytes); }

template <typename T, typename U>
absl::Status Refuse(std::string_view what, const T& expected, const U& got) {
  return absl::InvalidArgumentError(StrCat(what, ": expected ", expected, ", got ", got));
}

absl::Status CheckAxes(size_t axes) {
  if (axes >= kMinMapAxes && axes <= kMaxMapAxes) return absl::OkStatus();
  return Refuse("axes", StrCat(kMinMapAxes, " or ", kMaxMapAxes), axes);
}

}  // namespace

absl::StatusOr<TensorMapSpec> SpecOf(const TensorMap& map, uint64_t address,
                                     absl::Span<const int64_t> symbols) {
  RENGA_RETURN_IF_ERROR(CheckAxes(map.axes.size()));
  TensorMapSpec spec{.address = address,
                     .type = map.type,
                     .axes = static_cast<uint32_t>(map.axes.size()),
                     .sizes = {1, 1, 1},
                     .strides = {0, 0, 0},
                     .tile = {1, 1, 1},
                     .swizzle = map.swizzle};
  for (size_t i = 0; i < map.axes.size(); ++i) {
    RENGA_ASSIGN_OR_RETURN(const int64_t size, Evaluate(map.axes[i].size, symbols));
    spec.sizes[i] = static_cast<uint64_t>(size);
    spec.strides[i] = map.axes[i].stride;
    spec.tile[i] = map.axes[i].tile;
  }
  return spec;
}

absl::Status CheckTensorMap(const TensorMapSpec& spec) {
  RENGA_RETURN_IF_ERROR(CheckAxes(spec.axes));
  if (std::find(std::begin(kMapTypes), std::end(kMapTypes), spec.type) == std::end(kMapTypes)) {
    return Refuse("type", "f16, bf16 or f32", Name(spec.type));
  }
  if (spec.address % kAddressAlignment != 0) {
    return Refuse("start", StrCat("a multiple of ", kAddressAlignment, " bytes"), spec.address);
  }
  for (uint32_t i = 0; i < spec.axes; ++i) {
    if (spec.sizes[i] < 1 || spec.sizes[i] > kMaxMapSize) {
      return Refuse("size", StrCat("1..", kMaxMapSize), spec.sizes[i]);
    }
    if (spec.tile[i] < 1 || spec.tile[i] > kMaxTile) {
      return Refuse("tile", StrCat("1..", kMaxTile, " elements along an axis"), spec.tile[i]);
    }
    const uint64_t stride = spec.strides[i];
    if (i == 0 && stride != 0) return Refuse("stride", "none of the fastest axis", stride);
    if (i > 0 && (stride == 0 || stride % kStrideAlignment != 0 || stride >= kEndOfStrides)) {
      return Refuse("stride",
                    StrCat("a multiple of ", kStrideAlignment, " bytes below ", kEndOfStrides),
                    stride);
    }
  }
  const uint64_t row = spec.tile[0] * ElementBytes(spec.type);
  if (row % kTileRowAlignment != 0) {
    return Refuse("row of a tile", StrCat("a multiple of ", kTileRowAlignment, " bytes"), row);
  }
  if (spec.swizzle == Swizzle::k128Bytes && row != kSwizzledRow) {
    return Refuse("row of a swizzled tile", StrCat(kSwizzledRow, " bytes"), row);
  }
  return absl::OkStatus();
}

uint64_t ExtentBytes(const TensorMapSpec& spec) {
  uint64_t bytes = spec.sizes[0] * ElementBytes(spec.type);
  for (uint32_t i = 1; i < spec.axes; ++i) {
    const uint64_t steps = spec.sizes[i] - 1;
    // Before it overflows.
    if (steps > kMaxBytes / spec.strides[i]) return kMaxBytes + 1;
    bytes += steps * spec.strides[i];
  }
  return bytes;
}

}  // namespace renga::plan
