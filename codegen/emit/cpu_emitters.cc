// What the cpu target does for each operator. Its kernels are listed in docs/kernels-cpu.md.
#include "codegen/emit/emitter.h"
#include "codegen/emit/families.h"

namespace renga::codegen {
namespace {

// Sorted by operator.
constexpr Emitter kCpu[] = {
    {"add", EmitKernel, "add"},
    {"arg_max", EmitKernel, "arg_max"},
    {"attention", EmitAttention, "attention"},
    {"attn_scores", EmitScores, "attn_scores"},
    {"attn_values", EmitKernel, "attn_values"},
    {"embed", EmitKernel, "embed"},
    {"expert_linear", EmitKernel, "expert_linear"},
    {"expert_sum", EmitKernel, "expert_sum"},
    {"gate_up", EmitKernel, "gate_up"},
    {"gather_rows", EmitKernel, "gather_rows"},
    {"glu", EmitKernel, "glu"},
    {"head", EmitKernel, "head"},
    {"kv_append", EmitKernel, "kv_append"},
    {"linear", EmitKernel, "linear"},
    {"linear_add", EmitKernel, "linear_add"},
    {"masked_softmax", EmitKernel, "masked_softmax"},
    {"merge_heads", EmitView, ""},
    {"moe_route", EmitKernel, "moe_route"},
    {"norm_linear", EmitKernel, "norm_linear"},
    {"qkv_rope", EmitKernel, "qkv_rope"},
    {"rms_norm", EmitKernel, "rms_norm"},
    {"rope", EmitKernel, "rope"},
    {"slice", EmitKernel, "slice"},
    {"split_heads", EmitView, ""},
};

}  // namespace

absl::Span<const Emitter> EmittersOf(std::string_view target) {
  return target == "cpu" ? absl::MakeConstSpan(kCpu) : absl::Span<const Emitter>();
}

const Emitter* FindEmitter(std::string_view target, std::string_view op) {
  for (const Emitter& emitter : EmittersOf(target)) {
    if (emitter.op == op) return &emitter;
  }
  return nullptr;
}

}  // namespace renga::codegen
