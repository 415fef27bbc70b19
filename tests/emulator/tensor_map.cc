#include "tests/emulator/tensor_map.h"

#include <cstring>

#include "ir/base/status.h"

namespace renga::emulator {
namespace {

constexpr uint32_t kMagic = 0x7e4507a9;
static_assert(sizeof(TensorMapSpec) <= sizeof(EncodedTensorMap));

absl::Status Refuse(std::string_view what, uint64_t got) {
  return absl::InvalidArgumentError(StrCat("tensor map: expected ", what, ", got ", got));
}

}  // namespace

absl::StatusOr<EncodedTensorMap> MakeTensorMap(const TensorMapSpec& spec) {
  const uint64_t row_bytes = static_cast<uint64_t>(spec.box[0]) * spec.element_bytes;
  if (spec.rank != 2 && spec.rank != 3) return Refuse("rank 2 or 3", spec.rank);
  if (reinterpret_cast<uintptr_t>(spec.base) % 16 != 0) {
    return Refuse("a base at a multiple of 16 bytes", reinterpret_cast<uintptr_t>(spec.base));
  }
  for (uint32_t i = 0; i < spec.rank; ++i) {
    if (spec.sizes[i] == 0) return Refuse("sizes of 1 or more", 0);
    if (spec.box[i] == 0 || spec.box[i] > 256) return Refuse("a box of 1 to 256", spec.box[i]);
  }
  for (uint32_t i = 0; i + 1 < spec.rank; ++i) {
    if (spec.stride_bytes[i] % 16 != 0 || spec.stride_bytes[i] == 0) {
      return Refuse("strides that are multiples of 16 bytes", spec.stride_bytes[i]);
    }
  }
  if (row_bytes % 16 != 0) return Refuse("a box row of a multiple of 16 bytes", row_bytes);
  if (spec.swizzle == Swizzle::k128Bytes && row_bytes != 128) {
    return Refuse("a box row of 128 bytes with that swizzle", row_bytes);
  }
  EncodedTensorMap map;
  TensorMapSpec marked = spec;
  marked.magic = kMagic;
  if (spec.rank == 2) {
    marked.sizes[2] = marked.box[2] = 1;
    marked.stride_bytes[1] = 0;
  }
  memcpy(map.opaque, &marked, sizeof(marked));
  return map;
}

bool DecodeTensorMap(const void* map, TensorMapSpec* spec) {
  memcpy(spec, map, sizeof(*spec));
  return spec->magic == kMagic;
}

}  // namespace renga::emulator
