// What the cpu target does for each operator. Its kernels are listed in docs/kernels-cpu.md.
#include <algorithm>
#include <string>

#include "absl/strings/str_split.h"
#include "codegen/emit/emitter.h"
#include "codegen/emit/families.h"
#include "ir/base/status.h"

namespace renga::codegen {
namespace {

constexpr std::string_view kCpuTarget = "cpu";

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

absl::StatusOr<std::vector<const GpuTarget*>> GpusOf(std::string_view target) {
  std::vector<const GpuTarget*> gpus;
  if (target == kCpuTarget) return gpus;
  for (const std::string& name : std::vector<std::string>(absl::StrSplit(ToAbsl(target), ','))) {
    const absl::StatusOr<const GpuTarget*> gpu = FindGpuTarget(name);
    if (!gpu.ok()) {
      std::vector<std::string_view> names = {kCpuTarget};
      for (const GpuTarget& known : GpuTargets()) names.push_back(known.name);
      return absl::InvalidArgumentError(StrCat("target: expected one of ", StrJoin(names, ", "),
                                               ", got '", name.substr(0, 40), "'"));
    }
    if (std::find(gpus.begin(), gpus.end(), *gpu) != gpus.end()) {
      return absl::InvalidArgumentError(StrCat("target: expected ", name, " once, got it twice"));
    }
    gpus.push_back(*gpu);
  }
  return gpus;
}

absl::Span<const Emitter> EmittersOf(std::string_view target) {
  if (target == kCpuTarget) return kCpu;
  return GpusOf(target).ok() ? CudaEmitters() : absl::Span<const Emitter>();
}

const Emitter* FindEmitter(std::string_view target, std::string_view op) {
  for (const Emitter& emitter : EmittersOf(target)) {
    if (emitter.op == op) return &emitter;
  }
  return nullptr;
}

}  // namespace renga::codegen
