// What GPUs do for each operator. docs/kernels-cuda.md describes the kernels.
#include "codegen/emit/cuda_families.h"
#include "codegen/emit/emitter.h"
#include "codegen/emit/families.h"

namespace renga::codegen {
namespace {

// Sorted by operator. The name is what the step is called in the plan.
constexpr Emitter kCuda[] = {
    {"add", EmitCudaAdd, "add"},
    {"arg_max", EmitCudaArgMax, "arg_max"},
    {"attention", EmitCudaAttention, "attention"},
    {"attn_scores", EmitCudaScores, "attn_scores"},
    {"attn_values", EmitCudaValues, "attn_values"},
    {"embed", EmitCudaEmbed, "embed"},
    {"expert_linear", EmitCudaExpertLinear, "expert_linear"},
    {"expert_sum", EmitCudaExpertSum, "expert_sum"},
    {"gate_up", EmitCudaGateUp, "gate_up"},
    {"gather_rows", EmitCudaGatherRows, "gather_rows"},
    {"glu", EmitCudaGlu, "glu"},
    {"head", EmitCudaHead, "head"},
    {"kv_append", EmitCudaKvAppend, "kv_append"},
    {"linear", EmitCudaLinear, "linear"},
    {"linear_add", EmitCudaLinear, "linear_add"},
    {"masked_softmax", EmitCudaSoftmax, "masked_softmax"},
    {"merge_heads", EmitView, ""},
    {"moe_route", EmitCudaRoute, "moe_route"},
    {"norm_linear", EmitCudaLinear, "norm_linear"},
    {"qkv_rope", EmitCudaQkvRope, "qkv_rope"},
    {"rms_norm", EmitCudaRmsNorm, "rms_norm"},
    {"rope", EmitCudaRope, "rope"},
    {"slice", EmitCudaSlice, "slice"},
    {"split_heads", EmitView, ""},
};

}  // namespace

absl::Span<const Emitter> CudaEmitters() { return kCuda; }

}  // namespace renga::codegen
