// What the matcher sees that no operator of the registry can provoke, with operators made up here.
#include "passes/core/match.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/strings.h"
#include "ir/text/parse.h"

namespace renga {
namespace {

using testing::ElementsAre;

constexpr std::string_view kText = R"(ir 1
dim T = 1..8
weight @w: f32[4,4]
graph @step(%x: f32[T,4]) {
  %a: f32[T,4] = linear(%x, @w)
  %b: f32[T,4] = glu(%a, %a) {activation=silu}
  %c: f32[T,4] = rms_norm(%b, @w2) {eps=1e-06}
  %d: f32[T,4] = add(%c, %x)
  return %d
}
)";

OpDef MadeUp(std::vector<OperandDef> operands, void (*decompose)(DecomposeCall& call)) {
  OpDef op;
  op.name = "made_up";
  op.operands = std::move(operands);
  op.decompose = decompose;
  return op;
}

class MatchTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string text(kText);
    text.insert(text.find("graph"), "weight @w2: f32[4]\n");
    absl::StatusOr<Graph> graph = Parse(text, "test.ir");
    ASSERT_TRUE(graph.ok()) << graph.status();
    graph_ = *std::move(graph);
  }

  // "match", or why not.
  std::string At(const OpDef& op, int node) {
    const auto matcher = Matcher::Create(graph_, op);
    EXPECT_TRUE(matcher.ok()) << matcher.status();
    EXPECT_TRUE(matcher->IsCandidate(node));
    std::string why;
    match_ = matcher->At(node, &why);
    return match_.has_value() ? "match" : why;
  }

  Graph graph_;
  std::optional<Match> match_;
};

TEST_F(MatchTest, AValueUsedTwiceInsideIsOneNode) {
  const OpDef op = MadeUp({{"x"}, {"weight", true}}, [](DecomposeCall& call) {
    const ValueId a = call.Op("linear", "a", {call.in(0), call.in(1), kNoValue});
    call.Return(call.Op("glu", "b", {a, a}, {{"activation", std::string("silu")}}));
  });
  EXPECT_EQ(At(op, 1), "match");
  EXPECT_THAT(match_->nodes, ElementsAre(0, 1));
  EXPECT_THAT(match_->operands,
              ElementsAre(graph_.FindValue("x", false), graph_.FindValue("w", true)));
  EXPECT_TRUE(match_->attrs.empty());
}

TEST_F(MatchTest, AConstantAttributeMustBeThatConstant) {
  const OpDef op = MadeUp({{"g"}, {"u"}}, [](DecomposeCall& call) {
    call.Return(
        call.Op("glu", "b", {call.in(0), call.in(1)}, {{"activation", std::string("gelu_tanh")}}));
  });
  EXPECT_EQ(At(op, 1), "activation is silu in %b, expected gelu_tanh");
}

TEST_F(MatchTest, AnAttributeThePatternDoesNotTakeMustBeAbsent) {
  const OpDef op = MadeUp({{"x"}, {"weight"}}, [](DecomposeCall& call) {
    call.Return(call.Op("rms_norm", "c", {call.in(0), call.in(1)}));
  });
  EXPECT_EQ(At(op, 2), "eps is 1e-06 in %c, expected absent");
}

TEST_F(MatchTest, AWeightIsNoOtherValue) {
  const OpDef op = MadeUp({{"x"}, {"y", /*weight=*/true}}, [](DecomposeCall& call) {
    call.Return(call.Op("add", "d", {call.in(0), call.in(1)}));
  });
  EXPECT_EQ(At(op, 3), "b of %d is %x, expected a weight");
}

TEST_F(MatchTest, OneOperandIsOneValue) {
  const OpDef op = MadeUp({{"x"}}, [](DecomposeCall& call) {
    call.Return(call.Op("add", "d", {call.in(0), call.in(0)}));
  });
  EXPECT_EQ(At(op, 3), "b is %x in %d, %c in %d");
}

TEST_F(MatchTest, AnOptionalOperandMustBeThereWhereThePatternNeedsIt) {
  const OpDef op = MadeUp({{"x"}, {"weight", true}, {"bias"}}, [](DecomposeCall& call) {
    call.Return(call.Op("linear", "a", {call.in(0), call.in(1), call.in(2)}));
  });
  EXPECT_EQ(At(op, 0), "%a has no bias");
}

TEST_F(MatchTest, OnlyFusedOperators) {
  EXPECT_EQ(ToStd(Matcher::Create(graph_, *FindOp("add")).status().message()),
            "match: expected a fused operator, got add");
}

}  // namespace
}  // namespace renga
