#include "passes/core/pipeline.h"

#include <array>

#include "passes/fuse/fuse_attention.h"
#include "passes/fuse/fuse_gate_up.h"
#include "passes/fuse/fuse_head.h"
#include "passes/fuse/fuse_linear_add.h"
#include "passes/fuse/fuse_norm.h"
#include "passes/fuse/fuse_qkv_rope.h"
#include "passes/layout/pack_weights.h"
#include "passes/simplify/dead_nodes.h"
#include "passes/simplify/key_bias_apart.h"
#include "passes/simplify/rows_asked.h"
#include "passes/simplify/window_pages.h"

namespace renga {
namespace {

constexpr std::string_view kPackWeights = "pack-weights";

constexpr Pass kPipeline[] = {
    // First, so that a dead user does not keep a live node from being rewritten.
    {"remove-dead-nodes", RemoveDeadNodes, "drops nodes whose results nothing uses",
     /*whole=*/true},
    {"rows-asked", RowsAsked, "computes logits only for the rows asked for",
     /*whole=*/true},
    // Before the fusions of what it looks at.
    {kWindowPages, PagesOfWindows, "keeps of layers with a window no more than that"},
    // Before the fusion of what it takes apart.
    {kKeyBiasApart, KeyBiasApart, "keeps the bias of keys out of caches that it would cost digits"},
    {"fuse-qkv-rope", FuseQkvRope, "joins Q, K and V with RoPE and the writes of the cache"},
    {"fuse-attention", FuseAttention, "computes attention without a matrix of scores"},
    {"fuse-gate-up", FuseGateUp, "joins the two projections of a gated MLP"},
    {"fuse-linear-add", FuseLinearAdd, "adds the residual where the projection is computed"},
    {"fuse-head", FuseHead, "chooses the next token where the logits are computed"},
    // After the fusions whose nodes then take the norm in.
    {"fuse-norm", FuseNorm, "norms where the normed value is projected"},
    // Last: how a weight lies is a question of what reads it in the end.
    {kPackWeights, PackWeights, "gives products weights in the layout that suits the target"},
};

}  // namespace

absl::Span<const Pass> DefaultPipeline() { return kPipeline; }

absl::Span<const Pass> GpuPipeline() {
  static constexpr auto kGpuPipeline = [] {
    auto pipeline = std::to_array(kPipeline);
    for (Pass& pass : pipeline) {
      if (pass.name == kKeyBiasApart) pass.run = KeyBiasApartForGpu;
      if (pass.name == kPackWeights) pass.run = PackWeightsForGpu;
    }
    return pipeline;
  }();
  return kGpuPipeline;
}

}  // namespace renga
