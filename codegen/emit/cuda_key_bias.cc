#include "codegen/emit/cuda_key_bias.h"

#include "codegen/emit/cuda_rope.h"
#include "ir/base/status.h"

namespace renga::codegen {

absl::StatusOr<CudaKeyBias> KeyBiasOf(const CudaStep& step) {
  CudaKeyBias bias;
  if (!step.has("k_bias")) return bias;
  RENGA_RETURN_IF_ERROR(step.RequireF32({"k_bias"}));
  constexpr int64_t kDimsAtOnce = 8;
  bias.dims = step.Int("dims");
  if (bias.dims % kDimsAtOnce != 0) {
    return absl::UnimplementedError(
        StrCat(RefText(step.value("k_cache")), ": keys whose bias is apart (k_bias) and of which ",
               bias.dims, " dims are turned have no kernel on GPUs; supported: multiples of ",
               kDimsAtOnce, "; use --disable-pass key-bias-apart or --target cpu"));
  }
  bias.buffer = step.operand("k_bias");
  constexpr int64_t kNumbersAtOnce = 4;
  RENGA_ASSIGN_OR_RETURN(const int64_t head_dim, step.ConstSize("k_cache", 2));
  if (head_dim % kNumbersAtOnce != 0) {
    return absl::UnimplementedError(
        StrCat(RefText(step.value("k_cache")), ": keys of ", head_dim, " numbers whose bias is ",
               "apart (k_bias) have no kernel on GPUs; supported: multiples of ", kNumbersAtOnce,
               "; use --disable-pass key-bias-apart or --target cpu"));
  }
  bias.config = RopeConfig(step);
  return bias;
}

}  // namespace renga::codegen
