#include "tools/compare_values.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "ir/text/parse.h"
#include "ir/trace/trace_graph.h"
#include "tests/support/model_graph.h"
#include "tests/support/tiny_record.h"
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
  EXPECT_EQ(VerdictText(report.comparison), "identical: 120 values, every element");
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

TEST(CompareValuesTest, PairingIsFoundInModelsOfEveryFeature) {
  for (const std::string& name : TinyRecord::Names()) {
    const absl::StatusOr<GraphSource> a = OpenGguf(TinyRecord::Read(name).path, {});
    ASSERT_TRUE(a.ok()) << a.status();
    const GraphSource b = Edited(*a, "rope", [](Node& node) {
      std::string& pairing = std::get<std::string>(node.attrs["pairing"]);
      pairing = pairing == "neox" ? "norm" : "neox";
    });
    const ValuesReport report = Compare(*a, b);
    ASSERT_FALSE(report.comparison.unexplained.empty()) << name;
    for (const int index : report.comparison.unexplained) {
      EXPECT_EQ(report.comparison.values[index].op, "rope") << name;
    }
    EXPECT_EQ(report.comparison.values[report.comparison.unexplained[0]].layer, 0) << name;
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

// The rule alone, without replay: a disturbed weight is noticed where it is read, and what the
// disturbance does to all later nodes is explained. This is what
// kAmplification is chosen by: the next power of two.
TEST(CompareValuesTest, DisturbedWeightsAreFoundByTheRuleAlone) {
  const ModelGraph model = Stories();
  TraceGraphOptions options;
  options.ids = {1, 403, 407, 261, 378, 431, 290};
  options.threads = 1;
  const absl::StatusOr<Trace> a = TraceGraph(model.graph, model.weights, options);
  ASSERT_TRUE(a.ok()) << a.status();
  std::vector<std::pair<ValueId, ValueId>> pairs;
  for (const Node& node : model.graph.nodes) pairs.emplace_back(node.results[0], node.results[0]);
  double largest = 0;
  for (const ValueId weight : model.graph.weights) {
    const std::string disturbed = model.graph.value(weight).name;
    for (const float size : {1e-3f, 0.1f}) {
      std::vector<float> bytes;
      const WeightBytes weights =
          [&](const std::string& name) -> absl::StatusOr<absl::Span<const uint8_t>> {
        const auto span = model.weights(name);
        if (name != disturbed || !span.ok()) return span;
        bytes.resize(span->size() / sizeof(float));
        std::memcpy(bytes.data(), span->data(), span->size());
        uint32_t state = 1;
        for (float& x : bytes) {
          state = state * 1664525u + 1013904223u;
          x *= 1 + size * (static_cast<float>(state >> 8) * 0x1p-23f - 1);
        }
        return absl::Span<const uint8_t>(reinterpret_cast<const uint8_t*>(bytes.data()),
                                         span->size());
      };
      const absl::StatusOr<Trace> b = TraceGraph(model.graph, weights, options);
      ASSERT_TRUE(b.ok()) << b.status();
      const absl::StatusOr<TraceComparison> comparison =
          CompareMatched(*a, model.graph, *b, model.graph, pairs, {});
      ASSERT_TRUE(comparison.ok()) << comparison.status();
      ASSERT_EQ(comparison->unexplained.size(), 1u) << disturbed << "\n"
                                                    << TraceComparisonText(*comparison);
      const std::string& found = comparison->values[comparison->unexplained[0]].b_name;
      for (const Node& node : model.graph.nodes) {
        const bool reads = std::count(node.operands.begin(), node.operands.end(), weight) > 0;
        EXPECT_TRUE(!reads || NodeName(model.graph, node) == found) << disturbed << " " << found;
      }
      for (const ComparedValue& value : comparison->values) {
        if (!value.within() && !value.unexplained) {
          largest = std::max(largest, value.error.relative / value.input_error);
        }
      }
    }
  }
  EXPECT_LT(largest, 6);  // 4.7 measured
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

TEST(GraphSourceTest, TakesTheFilesTypes) {
  const std::string path = RENGA_SOURCE_DIR "/tests/data/stories260K.gguf";
  const absl::StatusOr<GraphSource> gguf = OpenGguf(path, {});
  ASSERT_TRUE(gguf.ok()) << gguf.status();
  GraphSource source;
  source.label = "x.ir";
  source.graph = gguf->graph;
  const ValueId query = source.graph.FindValue("blk.0.attn_q.weight", true);
  source.graph.values[query].type.dtype = DType::kF16;
  ASSERT_TRUE(TakeWeights(path, &source).ok());
  EXPECT_EQ(source.graph.value(query).type.dtype, DType::kF32);
  const ValuesReport report = Compare(*gguf, source);
  EXPECT_TRUE(report.comparison.equal());
  EXPECT_EQ(report.weights, "of " + path);

  source.graph.values[query].type.shape[0] = 32;
  EXPECT_THAT(std::string(TakeWeights(path, &source).message()),
              HasSubstr("@blk.0.attn_q.weight: expected f32[32,64] as in x.ir, got f32[64,64]"));
  source.graph.values[query].name = "none";
  EXPECT_THAT(std::string(TakeWeights(path, &source).message()),
              HasSubstr("expected the weight @none of x.ir, got none"));
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
