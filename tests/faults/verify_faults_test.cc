// Faults that verify finds on the cpu: each put into a kernel, the loader or the plan, for real.
// All nodes that it makes wrong are named with its cause, and no other.
#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/status.h"
#include "runtime/plan/layout.h"
#include "tests/faults/zoo/zoo.h"
#include "tests/support/test_data.h"
#include "tests/support/tiny_model.h"

namespace renga::faults {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::IsSupersetOf;

// What a fault makes wrong: results of an operator, all with a text.
struct Wrong {
  std::string op;
  std::vector<std::string> suffixes = {""};
  std::string says;  // in the text; empty: anything
};

struct ZooCase {
  std::string name;  // with the number in docs/faults.md
  Faults faults;
  std::vector<Wrong> wrong;
  bool fused = false;
  std::string model;  // of tests/data; empty: the small qwen2
};

const std::vector<std::string>& Biases() {
  static const auto& names =
      *new std::vector<std::string>{"blk.1.attn_q.bias", "blk.1.attn_k.bias", "blk.1.attn_v.bias"};
  return names;
}

// The memory plan gives a layer's first norm the place of what the residual still needs.
void OverItsOperand(plan::Plan* plan) {
  const auto find = [plan](std::string_view name) -> plan::Buffer& {
    for (plan::Buffer& buffer : plan->buffers) {
      if (buffer.space != plan::Space::kWeight && buffer.name == name) return buffer;
    }
    ADD_FAILURE() << "no buffer " << name;
    return plan->buffers[0];
  };
  const uint64_t place = find("0.out").offset;
  plan::Buffer& buffer = find("1.attn_out");
  for (plan::Buffer& other : plan->buffers) {
    const bool view = other.view_of >= 0 && &plan->buffers[other.view_of] == &buffer;
    if (&other == &buffer || view) other.offset = place;
  }
}

plan::Step* FindStep(plan::Plan* plan, std::string_view name) {
  for (plan::Step& step : plan->steps) {
    if (step.name == name) return &step;
  }
  ADD_FAILURE() << "no step " << name;
  return &plan->steps[0];
}

void SetAttr(plan::Plan* plan, std::string_view name, const plan::AttrValue& value) {
  for (plan::Step& step : plan->steps) {
    for (plan::Attr& attr : step.attrs) {
      if (attr.name == name) attr.value = value;
    }
  }
}

// Attention's scores come before the step's keys are in the cache, at a place of their own.
void ReadBeforeWritten(plan::Plan* plan) {
  for (plan::Buffer& buffer : plan->buffers) {
    if (buffer.name != "1.scores") continue;
    buffer.offset = plan::ArenaBytes(*plan);
    plan->memory.activations += plan::AlignUp(buffer.bytes);
  }
  plan::Step* const keys = FindStep(plan, "1.k_cells");
  plan::Step* const scores = FindStep(plan, "1.scores");
  std::rotate(keys, scores, scores + 1);
}

void OtherLayersWeight(plan::Plan* plan) {
  for (int32_t& input : FindStep(plan, "1.ffn_out")->inputs) {
    if (input < 0 || plan->buffers[input].space != plan::Space::kWeight) continue;
    for (size_t i = 0; i < plan->buffers.size(); ++i) {
      if (plan->buffers[i].name == "blk.0.ffn_down.weight") input = static_cast<int32_t>(i);
    }
  }
}

const std::string kPairs = "rotates the pairs (2i, 2i+1), the model's are (i, i+4)";

void PrintTo(const ZooCase& one, std::ostream* os) { *os << one.name; }

std::vector<ZooCase> Cases() {
  const std::string stride = "cells a head, the current length";
  return {
      {"f01_only_one_value_of_q", {.kernels = {&kScoresOneValue}}, {{"attn_scores", {""}, ""}}},
      {"f02_pairs_of_rope", {.kernels = {&kRopeOtherPairs}}, {{"rope", {""}, kPairs}}},
      {"f02_pairs_of_rope_fused",
       {.kernels = {&kQkvRopeOtherPairs}},
       {{"qkv_rope", {".q", ".k_cells"}, kPairs}},
       true},
      {"f03_zero_biases",
       {.zeros = Biases()},
       {{"linear", {"1.q_proj"}, "as if @blk.1.attn_q.bias were zeros"},
        {"linear", {"1.k_proj"}, "as if @blk.1.attn_k.bias were zeros"},
        {"linear", {"1.v_proj"}, "as if @blk.1.attn_v.bias were zeros"}}},
      {"f03_zero_biases_fused",
       {.zeros = Biases()},
       {{"qkv_rope", {"1.q"}, "as if @blk.1.attn_q.bias were zeros"},
        {"qkv_rope", {"1.k_cells"}, "as if @blk.1.attn_k.bias were zeros"},
        {"qkv_rope", {"1.v_cells"}, "as if @blk.1.attn_v.bias were zeros"}},
       true},
      {"f06_transposed",
       {.kernels = {&kLinearTransposed}},
       {{"linear", {".attn_out"}, "attn_output.weight transposed"}}},
      {"f06_leading_dimension",
       {.kernels = {&kLinearOtherRows}},
       {{"linear", {".ffn_out"}, "ffn_down.weight with rows 24 apart, they are 40"}}},
      {"f07_too_few_columns",
       {.kernels = {&kLinearCut}},
       {{"linear", {".ffn_out"}, "sums only the first 24 of 40 columns of @blk."}}},
      {"f10_stride_of_the_length",
       {.kernels = {&kScoresStride}},
       {{"attn_scores", {""}, stride}},
       false,
       "tiny/qwen2.gguf"},
      {"f10_stride_of_the_length_fused",
       {.kernels = {&kAttentionStride, &kAttentionDirectStride}},
       {{"attention", {""}, stride}},
       true,
       "tiny/qwen2.gguf"},
      {"f11_not_written_in_decode",
       {.kernels = {&kAppendNotInDecode}},
       {{"kv_append", {""}, "nothing was written"}}},
      {"f11_not_written_in_decode_fused",
       {.kernels = {&kQkvRopeNotInDecode}},
       {{"qkv_rope", {"_cells"}, "nothing was written"}},
       true},
      {"f12_second_head_not_written",
       {.kernels = {&kAppendFirstHead}},
       {{"kv_append", {""}, "head 1: nothing was written"}},
       false,
       "tiny/qwen2.gguf"},
      {"f12_second_head_not_written_fused",
       {.kernels = {&kQkvRopeFirstHead}},
       {{"qkv_rope", {"_cells"}, "head 1: nothing was written"}},
       true,
       "tiny/llama.gguf"},
      {"f13_position_ignored",
       {.kernels = {&kRopeWithoutPosition}},
       {{"rope", {""}, "as if every position were 0"}}},
      {"f13_position_ignored_fused",
       {.kernels = {&kQkvRopeWithoutPosition}},
       {{"qkv_rope", {".q", ".k_cells"}, "as if every position were 0"}},
       true},
      {"f14_over_an_operand_in_use", {.change = OverItsOperand}, {{"add", {"1.attn_res"}, ""}}},
      {"f16_norm_by_halving", {.kernels = {&kRmsNormHalving}}, {{"rms_norm", {""}, ""}}},
      {"f16_softmax_by_halving", {.kernels = {&kSoftmaxHalving}}, {{"masked_softmax", {""}, ""}}},
      {"f19_minima_added",
       {.kernels = {&kLinearMinimaAdded}},
       {{"linear", {"_proj", ".gate", ".up", ".ffn_out", "logits_all"}, "as if the minima of @"}},
       false,
       "tiny/llama-Q4_K.gguf"},
      {"f19_scales_cut",
       {.kernels = {&kLinearScalesCut}},
       {{"linear",
         {"_proj", ".gate", ".up", ".ffn_out", "logits_all"},
         "the upper two bits of the scales and minima"}},
       false,
       "tiny/llama-Q4_K.gguf"},
      // Others of their kind.
      {"heads_not_grouped",
       {.kernels = {&kScoresHeads}},
       {{"attn_scores", {""}, "query head h looks at key head h % 2, the model's is h / 2"}},
       false,
       "tiny/qwen2.gguf"},
      {"page_tables_ignored",
       {.kernels = {&kScoresPages}},
       {{"attn_scores", {""}, "as if every sequence had the pages 0, 1, 2"}}},
      {"read_before_written",
       {.change = ReadBeforeWritten},
       {{"attn_scores", {"1.scores"}, "as if %1.k_cache held nothing yet of this step's tokens"}}},
      {"mask_left_out",
       {.change = [](plan::Plan* plan) { SetAttr(plan, "causal", false); }},
       {{"masked_softmax", {""}, "as if causal were false, not true"}}},
      {"another_activation",
       {.change = [](plan::Plan* plan) { SetAttr(plan, "activation", std::string("gelu_tanh")); }},
       {{"glu", {""}, "as if activation were gelu_tanh, not silu"}}},
      {"weight_of_another_layer",
       {.change = OtherLayersWeight},
       {{"linear", {"1.ffn_out"}, "as if @blk.1.ffn_down.weight were @blk.0.ffn_down.weight"}}},
      // Several at once, all of them in one run.
      {"both_2_and_3",
       {.zeros = Biases(), .kernels = {&kRopeOtherPairs}},
       {{"rope", {""}, kPairs},
        {"linear", {"1.q_proj"}, "as if @blk.1.attn_q.bias were zeros"},
        {"linear", {"1.k_proj"}, "as if @blk.1.attn_k.bias were zeros"},
        {"linear", {"1.v_proj"}, "as if @blk.1.attn_v.bias were zeros"}}},
      {"all_of_2_3_and_6",
       {.zeros = Biases(), .kernels = {&kRopeOtherPairs, &kLinearTransposed}},
       {{"rope", {""}, kPairs},
        {"linear", {"1.q_proj"}, "as if @blk.1.attn_q.bias were zeros"},
        {"linear", {"1.k_proj"}, "as if @blk.1.attn_k.bias were zeros"},
        {"linear", {"1.v_proj"}, "as if @blk.1.attn_v.bias were zeros"},
        {"linear", {".attn_out"}, "attn_output.weight transposed"}}},
      {"both_6_and_7",
       {.kernels = {&kLinearTransposedOrCut}},
       {{"linear", {".attn_out"}, "attn_output.weight transposed"},
        {"linear", {".ffn_out"}, "sums only the first 24 of 40 columns of @blk."}}},
  };
}

TinyModel SmallQwen2() {
  TinyModel model;
  model.architecture = "qwen2";
  model.layers = 3;
  model.embedding = 24;
  model.heads = 3;
  model.head_dim = 8;
  model.hidden = 40;
  model.Fill();
  return model;
}

void Expect(const ZooCase& one, const StepsVerdict& verdict, const Graph& graph) {
  std::map<std::string, std::string> said = Named(verdict.nodes);
  for (const Wrong& wrong : one.wrong) {
    const std::set<std::string> names = ResultsOf(graph, wrong.op, wrong.suffixes);
    EXPECT_THAT(names, testing::Not(IsEmpty())) << wrong.op;
    for (const std::string& name : names) {
      const auto found = said.find(name);
      if (found == said.end()) {
        ADD_FAILURE() << name << " is not named";
        continue;
      }
      EXPECT_THAT(found->second, HasSubstr(wrong.says)) << name;
      said.erase(found);
    }
  }
  for (const auto& [name, text] : said) ADD_FAILURE() << name << " is blamed: " << text;
}

class ZooTest : public testing::TestWithParam<ZooCase> {};

TEST_P(ZooTest, IsFoundAndNothingElse) {
  const ZooCase& one = GetParam();
  TinyModel own = SmallQwen2();
  const std::string model = one.model.empty() ? own.Write() : TestData(one.model);
  ZooOptions options;
  options.fused = one.fused;
  Graph graph;
  const auto verdict = VerifyWith(model, one.faults, options, &graph);
  ASSERT_TRUE(verdict.ok()) << verdict.status();
  EXPECT_EQ(verdict->steps.size(), 3u);
  Expect(one, *verdict, graph);
  if (HasFailure()) {
    for (const BadValue& bad : verdict->nodes.bad) {
      std::cout << bad.name << " " << bad.op << ": " << bad.kind << ": " << bad.likely << " ("
                << bad.error.relative << ", " << bad.steps.size() << " steps)\n";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, ZooTest, testing::ValuesIn(Cases()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace renga::faults
