// One test a rule: a legal graph, one thing made wrong, the whole message.
#include "ir/core/verify.h"

#include <limits>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/strings.h"
#include "ir/core/infer.h"
#include "ir/text/parse.h"

namespace renga {
namespace {

using testing::HasSubstr;

constexpr std::string_view kText = R"(ir 1
dim T = 1..8
weight @w: f32[4,4]
cache %0.k_cache: f16[16,1,4]
graph @step(%x: f32[T,4], %cells: i32[T]) {
  %0.q: f32[T,4] = linear(%x, @w)
  %0.k: f32[T,1,4] = split_heads(%0.q) {heads=1}
  %0.k_cells: f16[16,1,4] = kv_append(%0.k_cache, %0.k, %cells)
  return %0.q, %0.k_cells
}
)";

class VerifyTest : public testing::Test {
 protected:
  void SetUp() override {
    absl::StatusOr<Graph> graph = Parse(kText, "test.ir");
    ASSERT_TRUE(graph.ok()) << graph.status();
    graph_ = *std::move(graph);
    ASSERT_TRUE(Verify(graph_).ok());
  }

  std::string Error() const {
    const absl::Status status = Verify(graph_);
    EXPECT_NE(status.code(), absl::StatusCode::kOk);
    return std::string(ToStd(status.message()));
  }
  ValueId Id(std::string_view name, bool weight = false) const {
    return graph_.FindValue(name, weight);
  }
  Value& Of(std::string_view name, bool weight = false) { return graph_.values[Id(name, weight)]; }
  Node& Linear() { return graph_.nodes[0]; }
  Node& Append() { return graph_.nodes[2]; }

  Graph graph_;
};

TEST_F(VerifyTest, GraphHasAName) {
  graph_.name = "";
  EXPECT_EQ(Error(), "graph: expected a name, got an empty one");
}

TEST_F(VerifyTest, OperatorsMeanSomethingAndOneThing) {
  OpDef op = *Linear().op;
  Linear().op = &op;
  const auto refusal = [](std::string_view got) {
    return StrCat("operator linear: expected infer and evaluate, or decompose alone, got", got);
  };
  op.evaluate = nullptr;
  EXPECT_THAT(Error(), HasSubstr(refusal(" infer\n")));
  op.infer = nullptr;
  EXPECT_THAT(Error(), HasSubstr(refusal(" none of them\n")));
  op = *FindOp("linear");
  op.decompose = [](DecomposeCall&) {};
  EXPECT_THAT(Error(), HasSubstr(refusal(" infer evaluate decompose\n")));
}

TEST_F(VerifyTest, NamesAreUnique) {
  Of("cells").name = "x";
  EXPECT_EQ(Error(), "%x: expected a new name, got one used before");
}

TEST_F(VerifyTest, ResultNamesAreUnique) {
  Of("0.k").name = "0.q";
  EXPECT_EQ(Error(),
            "node 0.q: %0.q: expected a new name, got one used before\n"
            "  %0.q: f32[T,1,4] = split_heads(%0.q) {heads=1}");
}

TEST_F(VerifyTest, NamesAreNotEmpty) {
  Of("x").name = "";
  EXPECT_EQ(Error(), "parameter: expected a name, got an empty one");
}

TEST_F(VerifyTest, AnUnusedValueMayShareAName) {
  graph_.AddValue("x", {DType::kF32, {}}, ValueKind::kResult);
  EXPECT_TRUE(Verify(graph_).ok());
}

TEST_F(VerifyTest, SymbolsAreIdentifiers) {
  graph_.symbols.push_back({"a b", 1, 1});
  EXPECT_EQ(Error(), "dim: expected an identifier, got \"a b\"");
}

TEST_F(VerifyTest, SymbolsAreDeclaredOnce) {
  graph_.symbols.push_back({"T", 1, 1});
  EXPECT_EQ(Error(), "dim T: expected a new name, got one declared before");
}

TEST_F(VerifyTest, SymbolBounds) {
  graph_.symbols[0] = {"T", 0, 8};
  EXPECT_EQ(Error(), "dim T: expected bounds with 1 <= min <= max, got 0..8");
  graph_.symbols[0] = {"T", 9, 8};
  EXPECT_EQ(Error(), "dim T: expected bounds with 1 <= min <= max, got 9..8");
}

TEST_F(VerifyTest, SymbolsAreFew) {
  for (int i = 0; i < 256; ++i) graph_.symbols.push_back({StrCat("S", i), 1, 1});
  EXPECT_EQ(Error(), "dim: expected at most 256 of them, got 257");
}

TEST_F(VerifyTest, TypesUseDeclaredSymbols) {
  Of("x").type.shape[0] = Dim::Symbol("U");
  EXPECT_EQ(Error(), "%x: expected declared sizes, got U in f32[U,4]");
}

TEST_F(VerifyTest, Rank) {
  Of("x").type.shape = {};
  EXPECT_EQ(Error(), "%x: expected rank 1..4, got 0");
  Of("x").type.shape.assign(5, 1);
  EXPECT_EQ(Error(), "%x: expected rank 1..4, got 5");
}

TEST_F(VerifyTest, SizesArePositive) {
  Of("x").type.shape[1] = -4;
  EXPECT_EQ(Error(), "%x: expected positive sizes, got -4 in f32[T,-4]");
}

TEST_F(VerifyTest, RowsHaveWholeBlocks) {
  Of("w", true).type = {DType::kQ8_0, {4, 48}};
  EXPECT_EQ(Error(), "@w: expected rows of whole blocks of 32 elements, got q8_0[4,48]");
  Of("w", true).type = {DType::kQ8_0, {4, Dim::Symbol("T")}};
  EXPECT_EQ(Error(), "@w: expected rows of whole blocks of 32 elements, got q8_0[4,T]");
}

TEST_F(VerifyTest, BytesFit) {
  graph_.symbols[0].max = std::numeric_limits<int64_t>::max() / 8;
  EXPECT_EQ(Error(), "%x: expected fewer than 2^63 bytes at the largest sizes, got f32[T,4]");
  graph_.symbols[0].max = std::numeric_limits<int64_t>::max();
  EXPECT_EQ(Error(), "%x: expected fewer than 2^63 bytes at the largest sizes, got f32[T,4]");
}

TEST_F(VerifyTest, ValuesAreListedOnce) {
  graph_.params.push_back(Id("x"));
  EXPECT_EQ(Error(), "%x: expected one definition, got a second");
}

TEST_F(VerifyTest, ValuesAreListedUnderTheirKind) {
  graph_.weights.push_back(Id("x"));
  EXPECT_EQ(Error(), "%x: expected a weight, got a parameter");
}

TEST_F(VerifyTest, ListedIdsExist) {
  graph_.caches.push_back(1000);
  EXPECT_EQ(Error(), "expected a cache, got the undefined id 1000");
}

TEST_F(VerifyTest, NodesHaveAnOperator) {
  Linear().op = nullptr;
  EXPECT_EQ(Error(), "node 0.q: expected an operator, got none\n  %0.q: f32[T,4] = <no operator>");
}

TEST_F(VerifyTest, OperandsAreDefinedBefore) {
  std::swap(graph_.nodes[0], graph_.nodes[1]);
  EXPECT_EQ(Error(),
            "node 0.k: operand x: expected a value defined before, got %0.q\n"
            "  %0.k: f32[T,1,4] = split_heads(%0.q) {heads=1}");
}

TEST_F(VerifyTest, ANodeDoesNotReadItself) {
  Linear().operands[0] = Id("0.q");
  EXPECT_THAT(Error(), HasSubstr("operand x: expected a value defined before, got %0.q"));
}

TEST_F(VerifyTest, OperandIdsExist) {
  Linear().operands[0] = -7;
  EXPECT_THAT(Error(),
              HasSubstr("node 0.q: operand x: expected a value defined before, got id -7"));
}

TEST_F(VerifyTest, OperandPresence) {
  Linear().operands[1] = kNoValue;
  EXPECT_THAT(Error(), HasSubstr("node 0.q: linear: operand weight: expected a weight (@name), "
                                 "got none\n"));
}

TEST_F(VerifyTest, OperandKind) {
  Linear().operands[1] = Id("x");
  EXPECT_THAT(Error(), HasSubstr("operand weight: expected a weight (@name), got %x\n"));
}

TEST_F(VerifyTest, OperandCount) {
  Linear().operands.push_back(Id("x"));
  EXPECT_THAT(Error(), HasSubstr("node 0.q: linear: operands: expected 3 entries, got 4\n"));
}

TEST_F(VerifyTest, AttributePresence) {
  graph_.nodes[1].attrs.clear();
  EXPECT_EQ(Error(),
            "node 0.k: split_heads: attribute heads: expected int, got none\n"
            "  %0.k: f32[T,1,4] = split_heads(%0.q)");
}

TEST_F(VerifyTest, ResultCount) {
  Linear().results.clear();
  EXPECT_EQ(Error(), "node : linear: expected 1 results, got 0\n   = linear(%x, @w)");
}

TEST_F(VerifyTest, ResultTypesAreInferred) {
  Of("0.q").type.dtype = DType::kF16;
  EXPECT_EQ(Error(),
            "node 0.q: %0.q: expected f32[T,4] as linear infers, got f16[T,4]\n"
            "  %0.q: f16[T,4] = linear(%x, @w)");
}

TEST_F(VerifyTest, ResultsAreResults) {
  Linear().results[0] = Id("x");
  EXPECT_THAT(Error(), HasSubstr("node x: %x: expected a result, got a parameter\n"));
}

TEST_F(VerifyTest, ProvenanceIsNamed) {
  Linear().provenance = {"0.q", ""};
  EXPECT_THAT(Error(), HasSubstr("node 0.q: provenance: expected names, got an empty one\n"));
}

TEST_F(VerifyTest, WeightsAndParametersAreNotOverwritten) {
  const ValueId parameter = graph_.AddValue("p", Of("0.k_cache").type, ValueKind::kParam);
  Append().operands[0] = parameter;
  EXPECT_THAT(Error(), HasSubstr("node 0.k_cells: operand cache: expected a cache or a result to "
                                 "overwrite, got parameter %p\n"));
  const ValueId weight = graph_.AddValue("p", Of("0.k_cache").type, ValueKind::kWeight);
  Append().operands[0] = weight;
  EXPECT_THAT(Error(), HasSubstr("expected a cache or a result to overwrite, got weight @p\n"));
}

TEST_F(VerifyTest, WhatIsOverwrittenIsReadOnce) {
  Of("0.k_cache").type = Of("0.k").type;
  Of("0.k_cells").type = Of("0.k").type;
  Append().operands[1] = Id("0.k_cache");
  EXPECT_THAT(Error(), HasSubstr("node 0.k_cells: operand cache: expected a value that no other "
                                 "operand reads, got %0.k_cache twice\n"));
}

TEST_F(VerifyTest, OverwrittenValuesAreNotReadAfterwards) {
  Node again = Append();
  again.results = {graph_.AddValue("again", Of("0.k_cells").type, ValueKind::kResult)};
  graph_.nodes.push_back(again);
  EXPECT_EQ(Error(),
            "node again: operand cache: expected a value that still exists, got %0.k_cache, "
            "overwritten by %0.k_cells: f16[16,1,4] = kv_append(%0.k_cache, %0.k, %cells)\n"
            "  %again: f16[16,1,4] = kv_append(%0.k_cache, %0.k, %cells)");
}

TEST_F(VerifyTest, OverwrittenValuesAreNotReturned) {
  graph_.returns.push_back(Id("0.k_cache"));
  EXPECT_EQ(Error(),
            "return: expected a value that still exists, got %0.k_cache, overwritten by "
            "%0.k_cells: f16[16,1,4] = kv_append(%0.k_cache, %0.k, %cells)");
}

TEST_F(VerifyTest, OverwrittenCachesAreReturned) {
  graph_.returns.pop_back();
  EXPECT_EQ(Error(),
            "cache %0.k_cache: expected its newest form %0.k_cells among the returned values, got "
            "a return without it\n"
            "  %0.k_cells: f16[16,1,4] = kv_append(%0.k_cache, %0.k, %cells)");
}

TEST_F(VerifyTest, OnlyTheNewestFormCounts) {
  Node again = Append();
  again.operands[0] = Id("0.k_cells");
  again.results = {graph_.AddValue("again", Of("0.k_cells").type, ValueKind::kResult)};
  graph_.nodes.push_back(again);
  graph_.returns = {Id("0.q")};
  EXPECT_THAT(Error(), HasSubstr("cache %0.k_cache: expected its newest form %again among"));
  graph_.returns = {Id("again")};
  EXPECT_TRUE(Verify(graph_).ok()) << Verify(graph_);
}

TEST_F(VerifyTest, AnUntouchedCacheNeedNotBeReturned) {
  graph_.nodes.pop_back();
  graph_.returns.pop_back();
  EXPECT_TRUE(Verify(graph_).ok()) << Verify(graph_);
}

TEST_F(VerifyTest, ReturnsAreDefined) {
  graph_.nodes.pop_back();
  EXPECT_EQ(Error(), "return: expected a value defined before, got %0.k_cells");
  graph_.returns = {12345};
  EXPECT_EQ(Error(), "return: expected a value defined before, got id 12345");
}

TEST_F(VerifyTest, LongNodesAreCut) {
  Linear().provenance = {std::string(100000, 'x')};
  Linear().op = nullptr;
  EXPECT_LT(Error().size(), 1000u);
  SetUp();
  Value& q = Of("0.q");
  q.name = std::string(100000, 'x');
  q.type.dtype = DType::kF16;
  EXPECT_LT(Error().size(), 1000u);
}

}  // namespace
}  // namespace renga
