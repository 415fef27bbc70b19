#include "codegen/lower/lower.h"

#include "codegen/emit/emitter.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/strings.h"
#include "ir/core/op_def.h"
#include "ir/text/parse.h"
#include "runtime/plan/print.h"

namespace renga::codegen {
namespace {

using ::testing::HasSubstr;

constexpr std::string_view kGraph = R"(ir 1
dim T = 1..8
dim S = 1..1
dim R = 1..8
dim L = 1..32
dim P = 1..8
dim C = 1..32
weight @table: f16[10,8]
weight @norm: f32[8]
cache %0.k_cache: f16[C,1,4]
graph @step(%tokens: i32[T], %positions: i32[T], %sequences: i32[T], %cells: i32[T], %pages: i32[S,P], %rows: i32[R]) {
  %embed: f32[T,8] = embed(%tokens, @table)
  %0.norm: f32[T,8] = rms_norm(%embed, @norm) {eps=1e-05}
  %0.heads: f32[T,2,4] = split_heads(%0.norm) {heads=2}
  %0.sum: f32[T,2,4] = add(%0.heads, %0.heads)
  %0.part: f32[T,4] = slice(%0.norm) {size=4, start=0}
  %0.narrow: f32[T,1,4] = split_heads(%0.part) {heads=1}
  %0.k: f16[C,1,4] = kv_append(%0.k_cache, %0.narrow, %cells)
  %0.merged: f32[T,8] = merge_heads(%0.sum)
  %0.out: f32[T,8] = add(%embed, %0.merged)
  %last: f32[R,8] = gather_rows(%0.out, %rows)
  %logits: f32[R,10] = linear(%last, @table)
  return %logits, %0.k
}
)";

plan::Weight WeightOf(std::string name, DType dtype, std::vector<int64_t> shape, uint64_t offset,
                      uint64_t bytes) {
  return {{std::move(name), dtype, std::move(shape), 0, offset, bytes}, {1, 2}};
}

class LowerTest : public ::testing::Test {
 protected:
  LowerTest() : graph_(Parse(kGraph, "test.ir").value()) {
    weights_ = {WeightOf("norm", DType::kF32, {8}, 64, 32),
                WeightOf("table", DType::kF16, {10, 8}, 128, 160)};
  }

  absl::StatusOr<plan::Plan> Run() {
    LowerInput input{.graph = graph_, .target = target_};
    input.model.vocab = 10;
    input.files = {{"model.gguf", 4096}};
    input.weights = weights_;
    input.geometry = {4, 32, 1, 8};
    input.ir = "ir 1";
    return Lower(std::move(input));
  }

  Graph graph_;
  std::string target_ = "cpu";
  std::vector<plan::Weight> weights_;
};

// One tensor in two layouts has two entries; one that is only packed has no other.
TEST_F(LowerTest, PackedWeightsTakeThePlaceOfTheirSources) {
  graph_ = Parse(R"(ir 1
dim T = 1..8
dim S = 1..1
dim R = 1..8
dim L = 1..32
dim P = 1..8
dim C = 1..32
weight @table: q8_0[10,32]
weight @table.packed: q8_0[10,32] = pack(@table) {layout=rows8}
weight @w: q4_0[10,32]
weight @w.packed: q4_0[10,32] = pack(@w) {layout=rows8}
graph @step(%tokens: i32[T]) {
  %embed: f32[T,32] = embed(%tokens, @table)
  %a: f32[T,10] = linear(%embed, @table.packed)
  %b: f32[T,10] = linear(%embed, @w.packed)
  return %a, %b
}
)",
                 "test.ir")
               .value();
  weights_ = {WeightOf("w", DType::kQ4_0, {10, 32}, 64, 180),
              WeightOf("table", DType::kQ8_0, {10, 32}, 512, 340)};
  const absl::StatusOr<plan::Plan> plan = Run();
  ASSERT_TRUE(plan.ok()) << plan.status();
  ASSERT_EQ(plan->weights.size(), 3u);
  EXPECT_EQ(plan->weights[0].source.name, "table");
  EXPECT_EQ(plan->weights[0].layout, "");
  EXPECT_EQ(plan->weights[1].source, plan->weights[0].source);
  EXPECT_EQ(plan->weights[1].layout, "rows8");
  EXPECT_EQ(plan->weights[2].source.name, "w");
  EXPECT_EQ(plan->weights[2].layout, "rows8");
  EXPECT_EQ(plan->memory.weights, 340u + 16 * 34 + 16 * 18);
  const plan::Buffer& buffer = plan->buffers[plan->steps[1].inputs[1]];
  EXPECT_EQ(buffer.name, "table.packed");
  EXPECT_EQ(buffer.type.layout, "rows8");
  EXPECT_EQ(buffer.bytes, 16u * 34);
}

TEST_F(LowerTest, AGraphBecomesThisPlan) {
  const absl::StatusOr<plan::Plan> plan = Run();
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan::PrintPlan(*plan), R"(plan 5 for cpu, by renga 0.1.0
model  ""  0 layers  0 wide  0/0 heads x 0  vocab 10  
geometry  context 32  page 4 tokens  sequences 1  step 8 tokens  batch-invariant 8
dim T = 1..8
dim S = 1..1
dim R = 1..8
dim L = 1..32
dim P = 1..8
dim C = 1..32
file model.gguf  4096 bytes
buffer 0    %tokens     i32[T]                       32 bytes  input 0
buffer 1    %positions  i32[T]                       32 bytes  input 1
buffer 2    %sequences  i32[T]                       32 bytes  input 2
buffer 3    %cells      i32[T]                       32 bytes  input 3
buffer 4    %pages      i32[S,P]                     32 bytes  input 4
buffer 5    %rows       i32[R]                       32 bytes  input 5
buffer 6    @table      f16[10,8]                   160 bytes  weight 0
buffer 7    @norm       f32[8]                       32 bytes  weight 1
buffer 8    %0.k_cache  f16[C,1,4]                  256 bytes  cache 0
buffer 9    %embed      f32[T,8]                    256 bytes  arena +0
buffer 10   %0.norm     f32[T,8]                    256 bytes  arena +256
buffer 11   %0.heads    f32[T,2,4]                  256 bytes  view of %0.norm
buffer 12   %0.sum      f32[T,2,4]                  256 bytes  arena +512
buffer 13   %0.part     f32[T,4]                    128 bytes  arena +768
buffer 14   %0.narrow   f32[T,1,4]                  128 bytes  view of %0.part
buffer 15   %0.merged   f32[T,8]                    256 bytes  view of %0.sum
buffer 16   %0.out      f32[T,8]                    256 bytes  arena +256
buffer 17   %last       f32[R,8]                    256 bytes  arena +512
buffer 18   %logits     f32[R,10]                   320 bytes  arena +0
step 0 embed embed (%tokens, @table) -> %embed: f32[T,8]
step 1 rms_norm 0.norm (%embed, @norm) {eps=1e-05} -> %0.norm: f32[T,8]
step 2 add 0.sum (%0.heads, %0.heads) -> %0.sum: f32[T,2,4]
step 3 slice 0.part (%0.norm) {size=4, start=0} -> %0.part: f32[T,4]
step 4 kv_append 0.k (%0.k_cache, %0.narrow, %cells) -> %0.k_cache: f16[C,1,4]
step 5 add 0.out (%embed, %0.merged) -> %0.out: f32[T,8]
step 6 gather_rows last (%0.out, %rows) -> %last: f32[R,8]
step 7 linear logits (%last, @table, -) -> %logits: f32[R,10]
)");
  EXPECT_THAT(plan->outputs, ::testing::ElementsAre("logits"));
  EXPECT_EQ(plan->memory, (plan::Memory{192, 256, 896 + 6 * 64}));
  EXPECT_THAT(plan->steps[4].provenance, ::testing::ElementsAre("0.k"));
  EXPECT_EQ(plan->steps[4].layer, 0);
  EXPECT_EQ(plan->weights[0].source.name, "table");
}

TEST_F(LowerTest, AMissingWeightIsNamed) {
  weights_.pop_back();
  const absl::Status status = Run().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(ToStd(status.message()),
              HasSubstr("weight @table: expected a tensor of the model, got none"));
}

TEST_F(LowerTest, WeightsLeftOverAreNamed) {
  weights_.push_back(WeightOf("b.bias", DType::kF32, {8}, 64, 32));
  weights_.push_back(WeightOf("a.bias", DType::kF32, {8}, 64, 32));
  EXPECT_THAT(ToStd(Run().status().message()),
              HasSubstr("weights: expected every one in the graph, 2 are not: a.bias b.bias"));
}

TEST_F(LowerTest, AWeightTwiceIsRefused) {
  weights_.push_back(weights_[0]);
  EXPECT_THAT(ToStd(Run().status().message()),
              HasSubstr("weight @norm: expected one source, got two"));
}

TEST_F(LowerTest, AWeightOfAnotherTypeIsRefused) {
  weights_[1].source.dtype = DType::kBF16;
  EXPECT_THAT(ToStd(Run().status().message()),
              HasSubstr("weight @table: expected f16[10,8], the model has bf16[10,8]"));
}

TEST_F(LowerTest, AnUnknownTargetIsRefused) {
  target_ = "abacus";
  const absl::Status status = Run().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(
      ToStd(status.message()),
      "target: expected one of cpu, sm_80, sm_86, sm_89, sm_90a, sm_100a, sm_120a, got 'abacus'");
}

TEST_F(LowerTest, AnOperatorWithoutEmitterIsNamed) {
  OpDef op = *graph_.nodes[1].op;
  op.name = "tan";
  graph_.nodes[1].op = &op;
  const absl::Status status = Run().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(
      ToStd(status.message()),
      HasSubstr("node 0.norm: target cpu has no emitter for tan; it has add arg_max attention"));
}

// A step of qkv_rope has three results, two of which are the caches themselves.
TEST_F(LowerTest, CachesAmongTheResultsAreWrittenInPlace) {
  graph_ = Parse(R"(ir 1
dim T = 1..8
dim R = 1..8
dim C = 1..32
weight @norm: f32[8]
weight @table: f16[10,8]
cache %0.k_cache: f16[C,5,2]
cache %0.v_cache: f32[C,5,2]
graph @step(%tokens: i32[T], %positions: i32[T], %cells: i32[T], %rows: i32[R]) {
  %embed: f32[T,8] = embed(%tokens, @table)
  %0.q: f32[T,5,2], %0.keys: f16[C,5,2], %0.values: f32[C,5,2] = qkv_rope(%embed, @table, @table, @table, %0.k_cache, %0.v_cache, %positions, %cells, norm=@norm) {base=10000.0, dims=2, eps=1e-05, factor=1.0, kv_heads=5, magnitude=1.0, pairing=norm, q_heads=5, scaling=none}
  %last: f32[R,8] = gather_rows(%embed, %rows)
  %logits: f32[R,10], %next: i32[R] = head(%last, @table, norm=@norm) {eps=1e-05}
  return %logits, %0.q, %0.keys, %next, %0.values
}
)",
                 "test.ir")
               .value();
  const absl::StatusOr<plan::Plan> plan = Run();
  ASSERT_TRUE(plan.ok()) << plan.status();
  const plan::Step& step = plan->steps[1];
  ASSERT_EQ(plan->kernels[step.kernel].name, "qkv_rope");
  ASSERT_EQ(step.inputs.size(), 15u);
  ASSERT_EQ(step.outputs.size(), 3u);
  EXPECT_EQ(step.outputs[1], step.inputs[4]);
  EXPECT_EQ(step.outputs[2], step.inputs[5]);
  EXPECT_EQ(plan->buffers[step.inputs[4]].name, "0.k_cache");
  EXPECT_EQ(plan->buffers[step.inputs[5]].name, "0.v_cache");
  EXPECT_EQ(plan->buffers[step.outputs[0]].space, plan::Space::kArena);
  EXPECT_EQ(plan->buffers[step.inputs[8]].name, "norm");
  for (size_t absent = 9; absent < 15; ++absent) EXPECT_EQ(step.inputs[absent], -1);
  EXPECT_EQ(plan->outputs, (std::vector<std::string>{"logits", "0.q", "next"}));
}

// On GPUs a run may be told more keys than there are; the mask must hide them.
TEST_F(LowerTest, AttentionThatIsNotCausalIsRefusedForGpus) {
  target_ = "sm_90a";
  weights_.clear();
  const auto lower = [&](std::string_view attention) {
    graph_ = Parse(StrCat(R"(ir 1
dim T = 1..8
dim S = 1..1
dim L = 1..32
dim P = 1..8
dim C = 1..32
cache %k: f16[C,2,16]
cache %v: f16[C,2,16]
graph @step(%tokens: i32[T], %positions: i32[T], %sequences: i32[T], %pages: i32[S,P], %q: f32[T,4,16]) {
)",
                          attention, R"(
  return %3.mix
}
)"),
                   "attention.ir")
                 .value();
    return Run().status();
  };
  const auto fused = [](std::string_view causal) {
    return StrCat("  %3.mix: f32[T,4,16] = attention(%q, %k, %v, %positions, %sequences, %pages) ",
                  "{causal=", causal, ", page_tokens=4, scale=0.5, span=L, window=0}");
  };
  const auto parts = [](std::string_view causal) {
    return StrCat("  %3.scores: f32[T,4,L] = attn_scores(%q, %k, %sequences, %pages) ",
                  "{page_tokens=4, scale=0.5, span=L}\n",
                  "  %3.mix: f32[T,4,L] = masked_softmax(%3.scores, %positions) {causal=", causal,
                  ", window=0}");
  };
  for (const std::string& text : {fused("false"), parts("false")}) {
    const absl::Status refused = lower(text);
    EXPECT_EQ(refused.code(), absl::StatusCode::kUnimplemented);
    EXPECT_THAT(ToStd(refused.message()),
                HasSubstr("%3.mix: attention with causal=false has no kernel on GPUs"));
    EXPECT_THAT(ToStd(refused.message()), HasSubstr("use --target cpu"));
  }
  // It is the mask that is refused, not these graphs.
  for (const std::string& text : {fused("true"), parts("true")}) {
    EXPECT_TRUE(lower(text).ok()) << lower(text);
  }
}

// Keys of any type, of whose bias eight dims are turned at once.
TEST_F(LowerTest, KeysWhoseBiasIsApartAreAddedToOnGpusOrRefused) {
  target_ = "sm_90a";
  weights_.clear();
  struct Case {
    std::string k_type;
    int64_t dims;
    std::string refused;  // nothing: it lowers
  };
  const Case cases[] = {
      {"f32", 16, ""},
      {"f16", 16, ""},
      {"f32", 12,
       "%k: keys whose bias is apart (k_bias) and of which 12 dims are turned have no kernel on "
       "GPUs; supported: multiples of 8; use --disable-pass key-bias-apart or --target cpu"}};
  for (const Case& c : cases) {
    for (const bool fused : {true, false}) {
      SCOPED_TRACE(StrCat(c.k_type, " ", c.dims, " ", fused));
      const std::string node =
          fused ? StrCat(
                      "%3.y: f32[T,4,16] = attention(%q, %k, %v, %positions, %sequences, "
                      "%pages, k_bias=%bias) {base=10000.0, causal=true, dims=",
                      c.dims,
                      ", factor=1.0, magnitude=1.0, page_tokens=4, pairing=neox, scale=0.5, "
                      "scaling=none, span=L, window=0}")
                : StrCat(
                      "%3.y: f32[T,4,L] = attn_scores(%q, %k, %sequences, %pages, "
                      "k_bias=%bias) {base=10000.0, dims=",
                      c.dims,
                      ", factor=1.0, magnitude=1.0, page_tokens=4, pairing=neox, scale=0.5, "
                      "scaling=none, span=L}");
      const absl::StatusOr<Graph> graph = Parse(StrCat(R"(ir 1
dim T = 1..8
dim S = 1..1
dim L = 1..32
dim P = 1..8
dim C = 1..32
cache %k: )",
                                                       c.k_type, R"([C,2,16]
cache %v: f16[C,2,16]
graph @step(%tokens: i32[T], %positions: i32[T], %sequences: i32[T], %pages: i32[S,P], %q: f32[T,4,16], %bias: f32[32]) {
  )",
                                                       node, "\n  return %3.y\n}\n"),
                                                "bias.ir");
      ASSERT_TRUE(graph.ok()) << graph.status();
      graph_ = *graph;
      const absl::Status status = Run().status();
      if (c.refused.empty()) {
        EXPECT_TRUE(status.ok()) << status;
        continue;
      }
      EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
      EXPECT_THAT(ToStd(status.message()), HasSubstr(c.refused));
    }
  }
}

// The choice for heads of `width`, `heads` of them for two key heads, and the kernel of the step.
// `bias` comes behind the operands, with the attributes it needs.
plan::Choice AttentionChoice(int64_t heads, int64_t width, std::string_view k_type = "f16",
                             std::string_view v_type = "bf16", std::string_view bias = "",
                             std::string_view attrs = "") {
  const int64_t v_width = v_type == "q4_0" ? 32 : 16;
  const Graph graph =
      Parse(StrCat(
                R"(ir 1
dim T = 1..8
dim S = 1..1
dim L = 1..32
dim P = 1..8
cache %k: )",
                k_type, "[32,2,", width, "]\ncache %v: ", v_type, "[32,2,", v_width, R"(]
graph @step(%q: f32[T,)",
                heads, ",", width,
                R"(], %positions: i32[T], %sequences: i32[T], %pages: i32[S,P], %bias: f32[)",
                2 * width, R"(]) {
  %3.mix: f32[T,)",
                heads, ",", v_width, "] = attention(%q, %k, %v, %positions, %sequences, %pages",
                bias, ") {causal=true, ", attrs, R"(page_tokens=4, scale=0.5, span=L, window=0}
  return %3.mix, %k, %v
}
)"),
            "attention.ir")
          .value();
  plan::Plan plan;
  for (const SymbolDef& symbol : graph.symbols) plan.symbols.push_back({symbol.name, symbol.max});
  PlanBuilder builder(graph, plan);
  for (const ValueId param : graph.params) {
    EXPECT_TRUE(builder.AddBuffer(param, plan::Space::kInput, 0).ok());
  }
  for (const ValueId cache : graph.caches) {
    EXPECT_TRUE(builder.AddBuffer(cache, plan::Space::kCache, 0).ok());
  }
  const Emitter* emitter = FindEmitter("cpu", "attention");
  const absl::Status status = emitter->emit(graph.nodes[0], emitter->kernel, builder);
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(plan.choices.size(), 1u);
  const plan::Choice choice = plan.choices[0];
  EXPECT_EQ(plan.kernels[plan.steps[0].kernel].name, choice.chosen);
  EXPECT_EQ(choice.subject, "3.mix");
  EXPECT_EQ(choice.what, "kernel");
  EXPECT_EQ(choice.considered, (std::vector<std::string>{"attention", "attention_direct"}));
  return choice;
}

TEST(CpuEmitters, AttentionIsChosenByHeadsAndSaysWhy) {
  plan::Choice choice = AttentionChoice(14, 64);
  EXPECT_EQ(choice.chosen, "attention_direct");
  EXPECT_EQ(choice.reason,
            "7 query heads share a key head: for a token at a time, no more than 8, converting its "
            "keys costs more than it saves");
  EXPECT_EQ(AttentionChoice(16, 16).chosen, "attention_direct");
  choice = AttentionChoice(18, 64);
  EXPECT_EQ(choice.chosen, "attention");
  EXPECT_EQ(choice.reason,
            "9 query heads share a key head: converting its keys once serves them all");
  choice = AttentionChoice(4, 24);
  EXPECT_EQ(choice.chosen, "attention");
  EXPECT_EQ(choice.reason,
            "heads of 24 and 16 are no multiples of 16, so that their rows must be padded");
  for (const auto& [k, v] : {std::pair("q8_0", "f16"), {"f32", "q4_0"}}) {
    choice = AttentionChoice(14, 64, k, v);
    EXPECT_EQ(choice.chosen, "attention");
    EXPECT_EQ(choice.reason, "a cache is quantised: unpacking it once serves all query heads");
  }
  choice = AttentionChoice(14, 64, "f16", "f16", ", k_bias=%bias",
                           "base=10000.0, dims=64, factor=1.0, magnitude=1.0, pairing=neox, "
                           "scaling=none, ");
  EXPECT_EQ(choice.chosen, "attention");
  EXPECT_EQ(choice.reason, "the bias of keys is added to them once for all query heads");
}

TEST(CpuEmitters, EveryOperatorHasOne) {
  for (const OpDef* op : AllOps()) {
    EXPECT_NE(FindEmitter("cpu", op->name), nullptr) << op->name << " has no emitter for cpu";
  }
  EXPECT_EQ(EmittersOf("cpu").size(), AllOps().size()) << "an emitter for no operator";
}

TEST(CpuEmitters, AreSorted) {
  const absl::Span<const Emitter> emitters = EmittersOf("cpu");
  for (size_t i = 1; i < emitters.size(); ++i) EXPECT_LT(emitters[i - 1].op, emitters[i].op);
}

}  // namespace
}  // namespace renga::codegen
