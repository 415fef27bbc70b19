#include "tools/compare_values.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "ir/text/parse.h"
#include "ir/trace/replay.h"
#include "tests/support/model_graph.h"
#include "tools/random_weights.h"

namespace renga {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

ModelGraph Stories(DType kv_type = DType::kF32) {
  absl::StatusOr<ModelGraph> model =
      ModelGraph::Open(RENGA_SOURCE_DIR "/tests/data/stories260K.gguf", kv_type);
  EXPECT_TRUE(model.ok()) << model.status();
  return *std::move(model);
}

GraphSource Source(const ModelGraph& model, bool weights = true) {
  GraphSource source;
  source.label = "stories.ir";
  source.graph = model.graph;
  if (weights) source.weights = model.weights;
  source.weights_label = "stories260K.gguf";
  return source;
}

template <typename Edit>
GraphSource Edited(GraphSource source, std::string_view op, Edit edit) {
  for (Node& node : source.graph.nodes) {
    if (node.op->name == op) edit(node);
  }
  return source;
}

ValuesReport Compare(const GraphSource& a, const GraphSource& b, ValuesOptions options = {}) {
  options.threads = 1;
  absl::StatusOr<ValuesReport> report = CompareValues(a, b, options);
  EXPECT_TRUE(report.ok()) << report.status();
  return report.ok() ? *std::move(report) : ValuesReport();
}

TEST(CompareValuesTest, AGraphIsIdenticalToItself) {
  const GraphSource source = Source(Stories());
  const ValuesReport report = Compare(source, source);
  EXPECT_TRUE(report.comparison.equal());
  EXPECT_EQ(VerdictText(report.comparison), "identical: 119 values, bit for bit");
  EXPECT_EQ(report.ids.size(), 9u);
  EXPECT_THAT(ValuesReportText(report),
              StartsWith("weights of stories260K.gguf; 9 random ids below 512 (seed 1): "));
}

TEST(CompareValuesTest, PairingOfRopeIsTheFirstSourceOfError) {
  for (const bool weights : {true, false}) {
    const GraphSource a = Source(Stories(), weights);
    const GraphSource b =
        Edited(a, "rope", [](Node& node) { node.attrs["pairing"] = std::string("neox"); });
    const ValuesReport report = Compare(a, b);
    ASSERT_FALSE(report.comparison.unexplained.empty());
    const ComparedValue& first = report.comparison.values[report.comparison.unexplained[0]];
    EXPECT_EQ(first.b_name, "0.q");
    EXPECT_EQ(first.error.observation, "token 0 equal");
    EXPECT_THAT(VerdictText(report.comparison),
                StartsWith("first difference that its inputs do not explain:  %0.q   max "));
    EXPECT_THAT(VerdictText(report.comparison), HasSubstr("  (token 0 equal)"));
    // Replay clears every node but the ropes.
    for (const int index : report.comparison.unexplained) {
      EXPECT_EQ(report.comparison.values[index].op, "rope");
    }
    EXPECT_EQ(report.comparison.unexplained.size(), 10u);
  }
}

TEST(CompareValuesTest, ReplayFindsASmallFaultBehindALargeOne) {
  // Layer 0 ropes by another base; layer 3's norm is off by a little, which the errors that reach
  // it could explain.
  const GraphSource a = Source(Stories());
  GraphSource b = a;
  for (Node& node : b.graph.nodes) {
    const std::string_view name = NodeName(b.graph, node);
    if (name == "0.q") node.attrs["base"] = 5000.0;
    if (name == "3.ffn_norm") node.attrs["eps"] = 1e-2;
  }
  const ValuesReport report = Compare(a, b);
  ASSERT_EQ(report.comparison.unexplained.size(), 2u);
  EXPECT_EQ(report.comparison.values[report.comparison.unexplained[0]].b_name, "0.q");
  EXPECT_EQ(report.comparison.values[report.comparison.unexplained[1]].b_name, "3.ffn_norm");
}

TEST(CompareValuesTest, CacheTypesAreTheSourceWhereTheyDiffer) {
  const ValuesReport report = Compare(Source(Stories()), Source(Stories(DType::kF16)));
  EXPECT_TRUE(report.comparison.unexplained.empty());
  EXPECT_THAT(report.comparison.tolerance.reason, HasSubstr("k=f32,v=f32 and k=f16,v=f16"));
}

TEST(CompareValuesTest, TakesIdsAndRefusesThoseOutsideTheVocabulary) {
  const GraphSource source = Source(Stories());
  ValuesOptions options;
  options.ids = {1, 403};
  EXPECT_EQ(Compare(source, source, options).ids, options.ids);
  options.ids = {1, 512};
  EXPECT_THAT(std::string(CompareValues(source, source, options).status().message()),
              HasSubstr("token id: expected 0..511, got 512"));
}

TEST(CompareValuesTest, RunsNoMoreTokensThanTheGraphTakes) {
  GraphSource source = Source(Stories(), /*weights=*/false);
  for (SymbolDef& symbol : source.graph.symbols) {
    if (symbol.name == "T") symbol.max = 3;
  }
  const ValuesReport report = Compare(source, source);
  EXPECT_EQ(report.ids.size(), 3u);
  EXPECT_THAT(report.weights, HasSubstr("random"));
}

TEST(CompareValuesTest, RefusesGraphsThatAreNoModels) {
  absl::StatusOr<Graph> graph = Parse(
      "ir 1\ngraph @step(%x: f32[2]) {\n  %y: f32[2] = add(%x, %x)\n  return %y\n}\n", "x.ir");
  ASSERT_TRUE(graph.ok()) << graph.status();
  GraphSource source;
  source.label = "x.ir";
  source.graph = *std::move(graph);
  EXPECT_THAT(std::string(CompareValues(source, source, {}).status().message()),
              HasSubstr("x.ir: expected a model's graph"));
}

TEST(RandomWeightsTest, DependOnNameAndSeedAlone) {
  const Graph graph = WithF32Weights(Stories().graph);
  const auto first = RandomWeights(graph, 1), again = RandomWeights(graph, 1),
             other = RandomWeights(graph, 2);
  const auto bytes = [](const absl::StatusOr<WeightBytes>& weights, const char* name) {
    const auto span = *(*weights)(name);
    return std::vector<uint8_t>(span.begin(), span.end());
  };
  EXPECT_EQ(bytes(first, "blk.0.attn_q.weight"), bytes(again, "blk.0.attn_q.weight"));
  EXPECT_NE(bytes(first, "blk.0.attn_q.weight"), bytes(other, "blk.0.attn_q.weight"));
  EXPECT_NE(bytes(first, "blk.0.attn_q.weight"), bytes(first, "blk.1.attn_q.weight"));
  EXPECT_FALSE((*first)("none").ok());
  const auto norm = *(*first)("blk.0.attn_norm.weight");
  const float* numbers = reinterpret_cast<const float*>(norm.data());
  for (size_t i = 0; i < norm.size() / 4; ++i) EXPECT_NEAR(numbers[i], 1, 0.5);
}

TEST(RandomWeightsTest, RefusesMoreThanMemoryShouldHold) {
  Graph graph = Stories().graph;
  graph.values[graph.weights[0]].type.shape[0] = int64_t{1} << 40;
  EXPECT_THAT(std::string(RandomWeights(graph, 1).status().message()),
              HasSubstr("name a model with -m"));
}

}  // namespace
}  // namespace renga
