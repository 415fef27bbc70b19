// A language model of one layer with random weights, as graph, plan and file on disk: what the
// tests of the executor run.
#pragma once

#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <memory>
#include <random>
#include <string>

#include "codegen/lower/lower.h"
#include "gtest/gtest.h"
#include "ir/base/output_file.h"
#include "ir/base/strings.h"
#include "ir/text/parse.h"
#include "ir/text/print.h"
#include "runtime/plan/plan.h"

namespace renga {

// Vocabulary 11, width 12, 3 query heads and 1 key head of 4, pages of 4 tokens, context 14, at
// most 5 tokens a run.
inline constexpr std::string_view kSmallGraph = R"(ir 1
dim T = 1..5
dim S = 1..1
dim R = 1..5
dim L = 1..14
dim P = 1..4
dim C = 1..16
weight @embd: f32[11,12]
weight @norm: f32[12]
weight @q: f32[12,12]
weight @k: f16[4,12]
weight @v: f32[4,12]
weight @v_bias: f32[4]
weight @o: f32[12,12]
weight @out: f16[11,12]
cache %0.k_cache: f32[C,1,4]
cache %0.v_cache: f32[C,1,4]
graph @step(%tokens: i32[T], %positions: i32[T], %sequences: i32[T], %cells: i32[T], %pages: i32[S,P], %rows: i32[R]) {
  %embed: f32[T,12] = embed(%tokens, @embd)
  %0.norm: f32[T,12] = rms_norm(%embed, @norm) {eps=1e-05}
  %0.q_proj: f32[T,12] = linear(%0.norm, @q)
  %0.q_heads: f32[T,3,4] = split_heads(%0.q_proj) {heads=3}
  %0.q: f32[T,3,4] = rope(%0.q_heads, %positions) {base=10000.0, dims=4, factor=1.0, magnitude=1.0, pairing=norm, scaling=none}
  %0.k_proj: f32[T,4] = linear(%0.norm, @k)
  %0.k_heads: f32[T,1,4] = split_heads(%0.k_proj) {heads=1}
  %0.k: f32[T,1,4] = rope(%0.k_heads, %positions) {base=10000.0, dims=4, factor=1.0, magnitude=1.0, pairing=norm, scaling=none}
  %0.v_proj: f32[T,4] = linear(%0.norm, @v, bias=@v_bias)
  %0.v: f32[T,1,4] = split_heads(%0.v_proj) {heads=1}
  %0.keys: f32[C,1,4] = kv_append(%0.k_cache, %0.k, %cells)
  %0.values: f32[C,1,4] = kv_append(%0.v_cache, %0.v, %cells)
  %0.scores: f32[T,3,L] = attn_scores(%0.q, %0.keys, %sequences, %pages) {page_tokens=4, scale=0.5, span=L}
  %0.weights: f32[T,3,L] = masked_softmax(%0.scores, %positions) {causal=true, window=0}
  %0.attn: f32[T,3,4] = attn_values(%0.weights, %0.values, %sequences, %pages) {page_tokens=4}
  %0.merged: f32[T,12] = merge_heads(%0.attn)
  %0.o: f32[T,12] = linear(%0.merged, @o)
  %0.sum: f32[T,12] = add(%embed, %0.o)
  %0.glu: f32[T,12] = glu(%0.sum, %0.norm) {activation=silu}
  %last: f32[R,12] = gather_rows(%0.glu, %rows)
  %logits: f32[R,11] = linear(%last, @out)
  return %logits, %0.keys, %0.values
}
)";

// A like model of fused operators, which also says what greedy decoding goes on with.
inline constexpr std::string_view kSmallFusedGraph = R"(ir 1
dim T = 1..5
dim S = 1..1
dim R = 1..5
dim L = 1..14
dim P = 1..4
dim C = 1..16
weight @embd: f32[11,12]
weight @norm: f32[12]
weight @q: f32[12,12]
weight @k: f16[4,12]
weight @v: f32[4,12]
weight @q_bias: f32[12]
weight @k_bias: f32[4]
weight @v_bias: f32[4]
weight @o: f32[12,12]
weight @gate: f16[7,12]
weight @up: f32[7,12]
weight @down: f32[12,7]
weight @mix: f32[12,12]
weight @out: f16[11,12]
cache %0.k_cache: f32[C,1,4]
cache %0.v_cache: f16[C,1,4]
graph @step(%tokens: i32[T], %positions: i32[T], %sequences: i32[T], %cells: i32[T], %pages: i32[S,P], %rows: i32[R]) {
  %embed: f32[T,12] = embed(%tokens, @embd)
  %0.q: f32[T,3,4], %0.keys: f32[C,1,4], %0.values: f16[C,1,4] = qkv_rope(%embed, @q, @k, @v, %0.k_cache, %0.v_cache, %positions, %cells, norm=@norm, q_bias=@q_bias, k_bias=@k_bias, v_bias=@v_bias) {base=10000.0, dims=4, eps=1e-05, factor=1.0, kv_heads=1, magnitude=1.0, pairing=neox, q_heads=3, scaling=none}
  %0.attn: f32[T,3,4] = attention(%0.q, %0.keys, %0.values, %positions, %sequences, %pages) {causal=true, page_tokens=4, scale=0.5, span=L, window=0}
  %0.merged: f32[T,12] = merge_heads(%0.attn)
  %0.sum: f32[T,12] = linear_add(%embed, %0.merged, @o)
  %0.act: f32[T,7] = gate_up(%0.sum, @gate, @up, norm=@norm) {activation=silu, eps=1e-05}
  %0.out: f32[T,12] = linear_add(%0.sum, %0.act, @down)
  %last: f32[R,12] = gather_rows(%0.out, %rows)
  %mixed: f32[R,12] = norm_linear(%last, @norm, @mix) {eps=1e-05}
  %logits: f32[R,11], %next: i32[R] = head(%mixed, @out, norm=@norm) {eps=1e-05}
  return %logits, %0.keys, %0.values, %next
}
)";

class SmallModel {
 public:
  explicit SmallModel(std::string_view text = kSmallGraph)
      : graph_(Parse(text, "small.ir").value()) {
    folder_ = (std::filesystem::path(::testing::TempDir()) /
               StrCat("small_model_", ::testing::UnitTest::GetInstance()->random_seed(), "_",
                      static_cast<int>(getpid())))
                  .string();
    std::filesystem::create_directories(folder_);
    std::mt19937 random(7);
    std::normal_distribution<float> normal(0, 0.7f);
    codegen::LowerInput input{.graph = graph_, .target = "cpu"};
    for (ValueId id : graph_.weights) {
      const Value& value = graph_.value(id);
      WeightSource source = {value.name, value.type.dtype, {}, 0, bytes_.size(), 0};
      int64_t elements = 1;
      for (const Dim& dim : value.type.shape) {
        source.shape.push_back(dim.value);
        elements *= dim.value;
      }
      for (int64_t i = 0; i < elements; ++i) {
        const float number = normal(random);
        const uint16_t half = FloatToHalf(number);
        const bool is_half = value.type.dtype == DType::kF16;
        bytes_.append(
            is_half ? reinterpret_cast<const char*>(&half) : reinterpret_cast<const char*>(&number),
            is_half ? 2 : 4);
      }
      source.bytes = bytes_.size() - source.offset;
      const Digest digest = DigestOf(std::string_view(bytes_).substr(source.offset, source.bytes));
      bytes_.resize((bytes_.size() + 31) / 32 * 32);
      input.weights.push_back({std::move(source), digest});
    }
    const std::string path = folder_ + "/small.gguf";
    EXPECT_TRUE(WriteFileAtomically(path, {bytes_}).ok());
    input.model.vocab = 11;
    input.files = {{path, bytes_.size()}};
    input.geometry = {4, graph_.FindSymbol("L")->max, graph_.FindSymbol("S")->max,
                      graph_.FindSymbol("T")->max};
    input.ir = Print(graph_);
    plan_ = codegen::Lower(std::move(input)).value();
  }
  ~SmallModel() { std::filesystem::remove_all(folder_); }

  const Graph& graph() const { return graph_; }
  const plan::Plan& plan() const { return plan_; }
  std::shared_ptr<const plan::Plan> shared_plan() const {
    return std::make_shared<const plan::Plan>(plan_);
  }
  const std::string& folder() const { return folder_; }

  absl::StatusOr<absl::Span<const uint8_t>> WeightBytes(const std::string& name) const {
    for (const plan::Weight& weight : plan_.weights) {
      if (weight.source.name != name) continue;
      return absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(bytes_.data()), bytes_.size())
          .subspan(weight.source.offset, weight.source.bytes);
    }
    return absl::NotFoundError(name);
  }

 private:
  Graph graph_;
  std::string folder_;
  std::string bytes_;  // of the model file
  plan::Plan plan_;
};

}  // namespace renga
