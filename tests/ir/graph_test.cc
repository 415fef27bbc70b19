#include "ir/core/graph.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/status.h"
#include "ir/core/infer.h"
#include "ir/text/parse.h"
#include "ir/text/print.h"

namespace renga {
namespace {

using testing::ElementsAre;

const TensorType kVector{DType::kF32, {4}};

TEST(GraphTest, AddValueListsEachKind) {
  Graph graph;
  EXPECT_EQ(graph.AddValue("a", kVector, ValueKind::kParam), 0);
  EXPECT_EQ(graph.AddValue("a", kVector, ValueKind::kWeight), 1);
  EXPECT_EQ(graph.AddValue("c", kVector, ValueKind::kCache), 2);
  EXPECT_EQ(graph.AddValue("r", kVector, ValueKind::kResult), 3);
  EXPECT_THAT(graph.params, ElementsAre(0));
  EXPECT_THAT(graph.weights, ElementsAre(1));
  EXPECT_THAT(graph.caches, ElementsAre(2));
  EXPECT_EQ(graph.FindValue("a", /*weight=*/false), 0);
  EXPECT_EQ(graph.FindValue("a", /*weight=*/true), 1);
  EXPECT_EQ(graph.FindValue("r", /*weight=*/false), 3);
  EXPECT_EQ(graph.FindValue("r", /*weight=*/true), kNoValue);
}

TEST(GraphTest, FindSymbol) {
  Graph graph;
  graph.symbols = {{"T", 1, 8}, {"R", 1, 2}};
  ASSERT_NE(graph.FindSymbol("R"), nullptr);
  EXPECT_EQ(graph.FindSymbol("R")->max, 2);
  EXPECT_EQ(graph.FindSymbol("S"), nullptr);
}

TEST(GraphTest, RefTextQuotesOnlyWhereNeeded) {
  const auto ref = [](std::string name, ValueKind kind = ValueKind::kResult) {
    return RefText(Value{std::move(name), {}, kind});
  };
  EXPECT_EQ(ref("0.q"), "%0.q");
  EXPECT_EQ(ref("blk.0.attn-q/x_Y.weight", ValueKind::kWeight), "@blk.0.attn-q/x_Y.weight");
  EXPECT_EQ(ref("cache", ValueKind::kCache), "%cache");
  EXPECT_EQ(ref("a b"), "%\"a b\"");
  EXPECT_EQ(ref("x\n", ValueKind::kWeight), "@\"x\\n\"");
  EXPECT_EQ(ref("a//b"), "%\"a//b\"");  // else the rest would be a comment
  EXPECT_EQ(ref(""), "%\"\"");
  EXPECT_EQ(ref("\xc3\xa9"), "%\"\\xc3\\xa9\"");
}

TEST(GraphTest, LayerOf) {
  EXPECT_EQ(LayerOf("12.ffn_norm"), 12);
  EXPECT_EQ(LayerOf("0.q"), 0);
  EXPECT_EQ(LayerOf("007.q"), 7);
  EXPECT_EQ(LayerOf("embed"), -1);
  EXPECT_EQ(LayerOf("12"), -1);
  EXPECT_EQ(LayerOf(""), -1);
  EXPECT_EQ(LayerOf(".q"), -1);
  EXPECT_EQ(LayerOf("1a.q"), -1);
  EXPECT_EQ(LayerOf("-1.q"), -1);
  EXPECT_EQ(LayerOf("99999999999999999999.q"), -1);
}

TEST(GraphTest, UsesCountOperandsAndReturns) {
  const absl::StatusOr<Graph> graph = Parse(
      "ir 1\ngraph @g(%x: f32[4]) {\n  %y: f32[4] = add(%x, %x)\n  %z: f32[4] = add(%x, %y)\n"
      "  return %y\n}\n",
      "g.ir");
  ASSERT_TRUE(graph.ok()) << graph.status();
  const Uses uses = ComputeUses(*graph);
  EXPECT_THAT(uses.count, ElementsAre(3, 2, 0));
  EXPECT_THAT(uses.producer, ElementsAre(-1, 0, 1));
  EXPECT_EQ(NodeName(*graph, graph->nodes[1]), "z");
}

TEST(GraphTest, CompactDropsOnlyWhatNothingRefersTo) {
  absl::StatusOr<Graph> graph = Parse(
      "ir 1\nweight @w: f32[4]\ncache %c: f16[4]\ngraph @g(%x: f32[4]) {\n"
      "  %y: f32[4] = add(%x, %x)\n  %z: f32[4] = add(%x, %x)\n  return %z\n}\n",
      "g.ir");
  ASSERT_TRUE(graph.ok()) << graph.status();
  const std::string all = Print(*graph);
  Compact(*graph);
  EXPECT_EQ(Print(*graph), all);
  EXPECT_EQ(graph->values.size(), 5u);
  graph->nodes.erase(graph->nodes.begin());
  const std::string fewer = Print(*graph);
  Compact(*graph);
  EXPECT_EQ(Print(*graph), fewer);
  EXPECT_EQ(graph->values.size(), 4u);
  EXPECT_EQ(graph->FindValue("y", false), kNoValue);
}

// A made-up operator with a weight, an optional operand and one attribute of each presence.
class InferTypesTest : public testing::Test {
 protected:
  InferTypesTest() {
    op_.name = "made_up";
    op_.operands = {{"x"}, {"weight", /*weight=*/true}, {"bias", false, /*optional=*/true}};
    op_.attrs = {{"eps", AttrType::kFloat}, {"mode", AttrType::kName, /*required=*/false}};
    op_.infer = [](const InferCall& call) -> absl::StatusOr<std::vector<TensorType>> {
      RENGA_RETURN_IF_ERROR(call.ExpectRank(0, 1));
      return std::vector<TensorType>{call.type(0)};
    };
    x_ = graph_.AddValue("x", kVector, ValueKind::kParam);
    w_ = graph_.AddValue("w", {DType::kF32, {4, 4}}, ValueKind::kWeight);
  }

  std::string Error(const std::vector<ValueId>& operands, const AttrMap& attrs) const {
    return std::string(ToStd(InferTypes(graph_, op_, operands, attrs).status().message()));
  }

  const AttrMap attrs_ = {{"eps", 1e-6}};
  OpDef op_;
  Graph graph_;
  ValueId x_, w_;
};

TEST_F(InferTypesTest, Good) {
  const auto types = InferTypes(graph_, op_, {x_, w_, kNoValue}, attrs_);
  ASSERT_TRUE(types.ok()) << types.status();
  EXPECT_THAT(*types, ElementsAre(kVector));
  EXPECT_TRUE(
      InferTypes(graph_, op_, {x_, w_, x_}, {{"eps", 1.0}, {"mode", std::string("a")}}).ok());
}

TEST_F(InferTypesTest, Operands) {
  EXPECT_EQ(Error({x_}, attrs_), "made_up: operands: expected 3 entries, got 1");
  EXPECT_EQ(Error({kNoValue, w_, x_}, attrs_), "made_up: operand x: expected a value, got none");
  EXPECT_EQ(Error({x_, kNoValue, x_}, attrs_),
            "made_up: operand weight: expected a weight (@name), got none");
  EXPECT_EQ(Error({x_, x_, x_}, attrs_),
            "made_up: operand weight: expected a weight (@name), got %x");
  EXPECT_EQ(Error({99, w_, x_}, attrs_),
            "made_up: operand x: expected a value, got the undefined id 99");
  EXPECT_EQ(Error({w_, w_, x_}, attrs_), "made_up: operand x: expected rank 1, got f32[4,4]");
}

TEST_F(InferTypesTest, Attributes) {
  EXPECT_EQ(Error({x_, w_, x_}, {}), "made_up: attribute eps: expected float, got none");
  EXPECT_EQ(Error({x_, w_, x_}, {{"eps", int64_t{1}}}),
            "made_up: attribute eps: expected float, got int 1");
  EXPECT_EQ(Error({x_, w_, x_}, {{"eps", 1.0}, {"mode", true}}),
            "made_up: attribute mode: expected name, got bool true");
  EXPECT_EQ(Error({x_, w_, x_}, {{"eps", 1.0}, {"epsilon", 2.0}}),
            "made_up: attribute epsilon: expected only eps, mode, got 2.0");
  op_.attrs = {};
  EXPECT_EQ(Error({x_, w_, x_}, attrs_),
            "made_up: attribute eps: expected no attributes, got 1e-06");
}

TEST_F(InferTypesTest, AnOperatorThatInfersTooMuchIsOurBug) {
  op_.results = 2;
  const auto types = InferTypes(graph_, op_, {x_, w_, x_}, attrs_);
  EXPECT_EQ(types.status().code(), absl::StatusCode::kInternal);
  EXPECT_EQ(ToStd(types.status().message()), "made_up: infer: expected 2 result types, got 1");
}

}  // namespace
}  // namespace renga
