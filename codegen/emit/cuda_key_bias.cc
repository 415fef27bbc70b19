#include "codegen/emit/cuda_key_bias.h"

#include "codegen/emit/cuda_rope.h"
#include "ir/base/status.h"

namespace renga::codegen {

absl::StatusOr<CudaKeyBias> KeyBiasOf(const CudaStep& step, const CudaCache& keys) {
  CudaKeyBias bias;
  if (!step.has("k_bias")) return bias;
  RENGA_RETURN_IF_ERROR(step.RequireF32({"k_bias"}));
  // Keys of 16 bits go from the cache to shared memory without a thread that could add to them.
  if (keys.parts == 1) {
    return absl::UnimplementedError(
        StrCat(RefText(step.value("k_cache")), ": keys in ", Name(step.type("k_cache").dtype),
               " whose bias is apart (k_bias) have no kernel on GPUs; supported: f32 q8_0 q4_0; "
               "use --disable-pass key-bias-apart or --target cpu"));
  }
  constexpr int64_t kDimsAtOnce = 8;
  bias.dims = step.Int("dims");
  if (bias.dims % kDimsAtOnce != 0) {
    return absl::UnimplementedError(
        StrCat(RefText(step.value("k_cache")), ": keys whose bias is apart (k_bias) and of which ",
               bias.dims, " dims are turned have no kernel on GPUs; supported: multiples of ",
               kDimsAtOnce, "; use --disable-pass key-bias-apart or --target cpu"));
  }
  bias.buffer = step.operand("k_bias");
  bias.config = RopeConfig(step);
  return bias;
}

}  // namespace renga::codegen
