#include "runtime/device/cuda/tensor_map.h"

#include <cstring>
#include <utility>

#include "ir/base/status.h"

namespace renga::cuda {
namespace {

// CUtensorMapDataType, CUtensorMapSwizzle, CUtensorMapL2promotion, as far as we use them.
constexpr std::pair<DType, int> kDataTypes[] = {
    {DType::kF16, 6}, {DType::kF32, 7}, {DType::kBF16, 9}};
constexpr int kSwizzles[] = {0, 3};  // by plan::Swizzle: none, 128 bytes
constexpr int kPromotion128 = 2;     // L2 fetches 128 bytes where a tile's row begins
constexpr int kNotInterleaved = 0, kFillZeros = 0;

// As the driver wants it.
struct alignas(plan::kTensorMapAlignment) RawMap {
  uint8_t bytes[plan::kTensorMapBytes] = {};
};

}  // namespace

absl::StatusOr<plan::EncodedTensorMap> EncodeTensorMap(const Context& context,
                                                       const plan::TensorMapSpec& spec) {
  RENGA_RETURN_IF_ERROR(Annotate(plan::CheckTensorMap(spec), "tensor map"));  // says which
  int data_type = 0;
  for (const auto& [type, value] : kDataTypes) {
    if (type == spec.type) data_type = value;
  }
  unsigned element_strides[plan::kMaxMapAxes];
  for (unsigned& stride : element_strides) stride = 1;
  RawMap raw;
  // The driver's strides begin with those of the second axis.
  RENGA_RETURN_IF_ERROR(context.Check(
      context.api().encode_tensor_map(
          &raw, data_type, spec.axes, reinterpret_cast<void*>(spec.address), spec.sizes.data(),
          spec.strides.data() + 1, spec.tile.data(), element_strides, kNotInterleaved,
          kSwizzles[static_cast<size_t>(spec.swizzle)], kPromotion128, kFillZeros),
      "cuTensorMapEncodeTiled"));
  plan::EncodedTensorMap map;
  std::memcpy(map.data(), raw.bytes, map.size());
  return map;
}

plan::TensorMapEncoder TensorMapEncoderOf(ContextRef context) {
  return [context = std::move(context)](const plan::TensorMapSpec& spec) {
    return EncodeTensorMap(*context, spec);
  };
}

}  // namespace renga::cuda
