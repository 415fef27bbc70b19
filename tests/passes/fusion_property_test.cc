// Whatever passes run, a graph means the same: random decoders, random subsets of the pipeline, two
// steps each (the second at positions behind the first), every returned value on the reference
// interpreter.
#include <algorithm>
#include <cmath>
#include <ctime>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/core/decompose.h"
#include "ir/text/print.h"
#include "passes/core/pipeline.h"
#include "passes/core/runner.h"
#include "passes/fuse/fuse_norm.h"
#include "passes/simplify/key_bias_apart.h"
#include "tests/ir/diff/llama_text.h"
#include "tests/passes/random_decoder.h"

namespace renga {
namespace {

HostTensor Ints(std::vector<int32_t> values, std::vector<int64_t> shape) {
  HostTensor tensor;
  tensor.dtype = DType::kI32;
  tensor.shape = std::move(shape);
  tensor.i = std::move(values);
  return tensor;
}

// Returned values of two steps by name: 3 tokens of one sequence and 1 of another, then 1 and 2.
std::vector<std::pair<std::string, HostTensor>> ValuesOf(RandomDecoder& decoder,
                                                         const Graph& graph) {
  std::vector<std::pair<std::string, HostTensor>> values;
  const auto interpreter = Interpreter::Create(
      graph, [&](const std::string& name) { return decoder.Weight(graph, name); }, {{"C", 32}}, 1);
  EXPECT_TRUE(interpreter.ok()) << interpreter.status();
  if (!interpreter.ok()) return values;
  // Pages of 4 cells, out of order: sequence 0 has 5 and 2, sequence 1 has 7 and 0.
  const std::vector<int32_t> pages = {5, 2, 7, 0};
  struct Step {
    std::vector<int32_t> positions, sequences, rows;
  };
  const Step steps[] = {{{0, 1, 2, 0}, {0, 0, 0, 1}, {2, 3}}, {{3, 1, 2}, {0, 1, 1}, {0, 1, 2}}};
  for (const Step& step : steps) {
    const int64_t tokens = static_cast<int64_t>(step.positions.size());
    const int64_t rows = static_cast<int64_t>(step.rows.size());
    const int64_t width = graph.value(graph.params[0]).type.shape[1].value;
    HostTensor x;
    x.shape = {tokens, width};
    x.Allocate();
    std::mt19937 random(static_cast<uint32_t>(tokens));
    std::normal_distribution<float> normal;
    for (float& value : x.f) value = normal(random);
    std::vector<int32_t> cells;
    for (int64_t t = 0; t < tokens; ++t) {
      const int32_t position = step.positions[t];
      cells.push_back(pages[step.sequences[t] * 2 + position / 4] * 4 + position % 4);
    }
    const absl::Status status =
        (*interpreter)
            ->Run({{"T", tokens}, {"R", rows}, {"S", 2}, {"L", 4}, {"P", 2}},
                  {x, Ints(step.positions, {tokens}), Ints(cells, {tokens}),
                   Ints(step.sequences, {tokens}), Ints(pages, {2, 2}), Ints(step.rows, {rows})});
    EXPECT_TRUE(status.ok()) << status;
    if (!status.ok()) return values;
    for (size_t i = 0; i < graph.returns.size(); ++i) {
      values.emplace_back(graph.value(graph.returns[i]).name,
                          (*interpreter)->Return(static_cast<int>(i)));
    }
  }
  return values;
}

// Within `tolerance` of the largest.
void ExpectSame(const std::vector<std::pair<std::string, HostTensor>>& want,
                const std::vector<std::pair<std::string, HostTensor>>& got,
                float tolerance = 1e-6f) {
  ASSERT_EQ(want.size(), got.size());
  for (size_t i = 0; i < want.size(); ++i) {
    SCOPED_TRACE(want[i].first);
    ASSERT_EQ(want[i].first, got[i].first);
    EXPECT_EQ(want[i].second.shape, got[i].second.shape);
    EXPECT_EQ(want[i].second.i, got[i].second.i);
    const std::vector<float>& a = want[i].second.f;
    ASSERT_EQ(a.size(), got[i].second.f.size());
    float largest = 0, worst = 0;
    for (size_t j = 0; j < a.size(); ++j) {
      ASSERT_TRUE(std::isfinite(a[j]));
      largest = std::max(largest, std::abs(a[j]));
      worst = std::max(worst, std::abs(a[j] - got[i].second.f[j]));
    }
    EXPECT_LE(worst, tolerance * largest);
  }
}

std::vector<std::string> OpsOf(const Graph& graph) {
  std::vector<std::string> ops;
  for (const Node& node : graph.nodes) ops.emplace_back(node.op->name);
  return ops;
}

TEST(FusionPropertyTest, AnySubsetOfPassesMeansTheSame) {
  for (uint32_t seed = 0; seed < 150; ++seed) {
    RandomDecoder decoder(seed);
    SCOPED_TRACE(StrCat("seed ", seed, "\n", decoder.text()));
    const absl::StatusOr<Graph> plain = Parse(decoder.text(), "random.ir");
    ASSERT_TRUE(plain.ok()) << plain.status();
    const auto want = ValuesOf(decoder, *plain);
    ASSERT_FALSE(want.empty());
    std::mt19937 random(seed);
    for (int subset = 0; subset < 4; ++subset) {
      RunPassesOptions options;
      options.only.emplace();
      std::string names;
      for (const Pass& pass : DefaultPipeline()) {
        if (subset > 0 && random() % 2 == 0) continue;  // first all of them
        options.only->emplace_back(pass.name);
        StrAppend(&names, pass.name, " ");
      }
      SCOPED_TRACE(names);
      Graph graph = *plain;
      Ledger ledger;
      const auto records = RunPasses(graph, options, &ledger);
      ASSERT_TRUE(records.ok()) << records.status();
      ExpectSame(want, ValuesOf(decoder, graph));
      if (testing::Test::HasFailure()) return;
    }
  }
}

// Keys without their bias, which attn_scores adds: all other values stay. Numbers of f32 are kept
// here, of which the pass itself would take no bias out, so that nothing but the order of additions
// differs: keys of some 10 are rounded to f32 before or after the bias is added, 2^-24 of them,
// times queries of some 10 and 18 dimensions: 1e-5 of a score of 1, and of what its softmax weighs.
TEST(KeyBiasPropertyTest, MeansTheSameButForTheKeysKept) {
  std::vector<Pass> pipeline(DefaultPipeline().begin(), DefaultPipeline().end());
  for (Pass& pass : pipeline) {
    if (pass.name == "key-bias-apart") pass.run = KeyBiasApartOfAll;
  }
  int apart = 0;
  for (uint32_t seed = 0; seed < 100; ++seed) {
    RandomDecoder decoder(seed);
    SCOPED_TRACE(StrCat("seed ", seed, "\n", decoder.text()));
    const absl::StatusOr<Graph> plain = Parse(decoder.text(), "random.ir");
    ASSERT_TRUE(plain.ok()) << plain.status();
    auto want = ValuesOf(decoder, *plain);
    ASSERT_FALSE(want.empty());
    for (const bool fused : {false, true}) {
      RunPassesOptions options;
      if (!fused) options.only = {"key-bias-apart"};
      Graph graph = *plain;
      Ledger ledger;
      const auto records = RunPasses(graph, pipeline, options, &ledger);
      ASSERT_TRUE(records.ok()) << records.status();
      const bool changed = std::any_of(records->begin(), records->end(), [](const auto& record) {
        return record.name == "key-bias-apart" && record.changed;
      });
      apart += changed ? 1 : 0;
      auto got = ValuesOf(decoder, graph);
      ASSERT_EQ(got.size(), want.size());
      for (size_t i = 0; i < got.size(); ++i) {
        if (!changed || !got[i].first.ends_with(".k_cells")) continue;
        EXPECT_NE(got[i].second.f, want[i].second.f) << got[i].first;  // the bias is out
        got[i].second.f = want[i].second.f;
      }
      ExpectSame(want, got, 1e-5f);
      if (testing::Test::HasFailure()) return;
    }
  }
  EXPECT_GT(apart, 10);  // of 100 decoders some 12 have biases, no head norms and no factors
}

// Of every layer five nodes are left and a view of the heads, whatever optional parts it has.
TEST(FusionPropertyTest, ALayerIsFiveNodes) {
  for (uint32_t seed = 0; seed < 150; ++seed) {
    RandomDecoder decoder(seed);
    SCOPED_TRACE(StrCat("seed ", seed, "\n", decoder.text()));
    absl::StatusOr<Graph> graph = Parse(decoder.text(), "random.ir");
    ASSERT_TRUE(graph.ok()) << graph.status();
    Ledger ledger;
    ASSERT_TRUE(RunPasses(*graph, {}, &ledger).ok());
    std::vector<std::string> want;
    for (int layer = 0; layer < decoder.layers(); ++layer) {
      want.insert(want.end(),
                  {"qkv_rope", "attention", "merge_heads", "linear_add", "gate_up", "linear_add"});
    }
    want.insert(want.end(), {"gather_rows", "head"});
    EXPECT_EQ(OpsOf(*graph), want);
    for (const LedgerEntry& entry : ledger.entries) {
      if (entry.pass == "window-pages") continue;  // four pages of context are too few
      EXPECT_TRUE(entry.matched) << entry.pass << " " << entry.node << ": " << entry.reason;
    }
  }
}

// Of the processor: what else runs here does not count.
double SecondsOfAllPasses(int layers) {
  std::string text = LlamaText(layers);
  for (int layer = 0; layer < layers; ++layer) {  // a bias on Q alone would stop qkv_rope
    const std::string bias = StrCat(", bias=@blk.", layer, ".attn_q.bias");
    text.erase(text.find(bias), bias.size());
  }
  absl::StatusOr<Graph> graph = Parse(text, "llama.ir");
  EXPECT_TRUE(graph.ok()) << graph.status();
  Ledger ledger;
  const std::clock_t start = std::clock();
  const auto records = RunPasses(*graph, {}, &ledger);
  const std::clock_t taken = std::clock() - start;
  EXPECT_TRUE(records.ok()) << records.status();
  EXPECT_LT(graph->nodes.size(), static_cast<size_t>(7 * layers));
  return static_cast<double>(taken) / CLOCKS_PER_SEC;
}

// 80 layers take some 0.1 s, verifying and printing after each pass included, and under the
// sanitizers seven times that. Four times as many take four times as long; sixteen would mean that
// something is quadratic.
TEST(FusionPropertyTest, TimeGrowsWithTheNodes) {
#ifdef __SANITIZE_ADDRESS__
  constexpr double kMost = 7.0;
#else
  constexpr double kMost = 1.0;
#endif
  const double few = SecondsOfAllPasses(80);
  EXPECT_LT(few, kMost);
  EXPECT_LT(SecondsOfAllPasses(320), 10 * few + 0.1);
}

// What fuse-norm relies on: a form with a norm is an rms_norm and then the form without.
TEST(NormFormTest, IsANormAndThenThePlainForm) {
  for (const NormForm& form : NormForms()) {
    SCOPED_TRACE(std::string(form.normed));
    const OpDef* const normed = FindOp(form.normed);
    const OpDef* const plain = FindOp(form.plain);
    ASSERT_TRUE(normed != nullptr && plain != nullptr);
    const auto present = [](const OpDef& op, bool with_norm) {
      std::vector<bool> choice;
      for (const OperandDef& operand : op.operands) {
        choice.push_back(!operand.optional || (with_norm && operand.name == "norm"));
      }
      return choice;
    };
    const auto parts = DecompositionPattern(*normed, present(*normed, true));
    ASSERT_TRUE(parts.ok()) << parts.status();
    const Node& first = parts->graph.nodes[0];
    ASSERT_EQ(first.op->name, "rms_norm");
    EXPECT_EQ(parts->graph.value(first.operands[0]).name, "x");
    EXPECT_EQ(parts->graph.value(first.operands[1]).name, "norm");
    EXPECT_EQ(first.attrs, (AttrMap{{"eps", std::string("$eps")}}));
    // The rest, with the norm's result for x: operators, operands by name, attributes.
    std::vector<std::string> rest;
    for (size_t n = 1; n < parts->graph.nodes.size(); ++n) {
      Graph renamed = parts->graph;
      renamed.values[first.results[0]].name = "x";
      rest.push_back(PrintNode(renamed, renamed.nodes[n]));
    }
    std::vector<std::string> want;
    if (plain->fused()) {
      const auto same = DecompositionPattern(*plain, present(*plain, false));
      ASSERT_TRUE(same.ok()) << same.status();
      for (const Node& node : same->graph.nodes) want.push_back(PrintNode(same->graph, node));
    } else {
      ASSERT_EQ(parts->graph.nodes.size(), 2u);
      want = rest;
      EXPECT_EQ(parts->graph.nodes[1].op, plain);
    }
    EXPECT_EQ(rest, want);
  }
}

}  // namespace
}  // namespace renga
