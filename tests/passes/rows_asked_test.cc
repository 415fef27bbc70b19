// The refusals that no operator of the registry can provoke today, with operators made up here.
#include "passes/simplify/rows_asked.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/strings.h"
#include "ir/core/eval.h"
#include "ir/core/infer.h"
#include "ir/core/verify.h"
#include "ir/text/print.h"

namespace renga {
namespace {

absl::StatusOr<std::vector<TensorType>> Same(const InferCall& call) {
  return std::vector<TensorType>{call.type(0)};
}
absl::StatusOr<std::vector<TensorType>> Twice(const InferCall& call) {
  return std::vector<TensorType>{call.type(0), call.type(0)};
}
absl::StatusOr<std::vector<TensorType>> ToFloat(const InferCall& call) {
  return std::vector<TensorType>{{DType::kF32, {call.type(0).shape[0], 4}}};
}
absl::StatusOr<std::vector<TensorType>> OtherRows(const InferCall& call) {
  return std::vector<TensorType>{{DType::kF32, {64, 4}}};
}

OpDef RowWise(absl::StatusOr<std::vector<TensorType>> (*infer)(const InferCall&)) {
  OpDef op;
  op.name = "made_up";
  op.operands = {{"x"}};
  op.row_wise = true;
  op.infer = infer;
  op.evaluate = [](EvalCall&) { return absl::OkStatus(); };
  return op;
}

// graph @step(%x: x_type[T,..], %rows: i32[R]): made_up(%x), then gather_rows of its first result.
class RowsAskedTest : public testing::Test {
 protected:
  void Build(const OpDef& op, TensorType x_type, ValueKind x_kind = ValueKind::kParam) {
    graph_.symbols = {{"T", 1, 512}, {"R", 1, 8}};
    const ValueId x = graph_.AddValue("x", std::move(x_type), x_kind);
    const ValueId all = Add(op, {x}, {"all", "more"});
    const ValueId rows = graph_.AddValue("rows", {DType::kI32, {Dim::Symbol("R")}}, rows_kind_);
    if (rows_kind_ == ValueKind::kResult) {
      graph_.nodes.push_back({&rows_op_, {given_rows_}, {rows}, {}, {}});
    }
    graph_.returns.push_back(Add(*FindOp("gather_rows"), {all, rows}, {"few"}));
    if (x_kind == ValueKind::kCache) graph_.returns.push_back(all);
    const absl::Status status = Verify(graph_);
    ASSERT_TRUE(status.ok()) << status;
  }

  ValueId Add(const OpDef& op, std::vector<ValueId> operands, std::vector<std::string> names) {
    const auto types = InferTypes(graph_, op, operands, {});
    EXPECT_TRUE(types.ok()) << types.status();
    Node node{&op, std::move(operands), {}, {}, {}};
    for (size_t i = 0; i < types->size(); ++i) {
      node.results.push_back(graph_.AddValue(names[i], (*types)[i], ValueKind::kResult));
    }
    graph_.nodes.push_back(node);
    return node.results[0];
  }

  // The pass must leave the graph alone; returns its reason.
  std::string Reason() {
    const std::string before = Print(graph_);
    Ledger ledger;
    const absl::StatusOr<bool> changed = RowsAsked(graph_, ledger);
    EXPECT_TRUE(changed.ok()) << changed.status();
    EXPECT_FALSE(*changed);
    EXPECT_EQ(Print(graph_), before);
    EXPECT_EQ(ledger.entries.size(), 1u);
    EXPECT_FALSE(ledger.entries[0].matched);
    EXPECT_EQ(ledger.entries[0].node, "few");
    return ledger.entries[0].reason;
  }

  const TensorType float_rows_{DType::kF32, {Dim::Symbol("T"), 4}};
  Graph graph_;
  OpDef rows_op_ = RowWise(Same);
  ValueKind rows_kind_ = ValueKind::kParam;
  ValueId given_rows_ = kNoValue;
};

TEST_F(RowsAskedTest, TwoResults) {
  OpDef op = RowWise(Twice);
  op.results = 2;
  Build(op, float_rows_);
  EXPECT_EQ(Reason(), "stops at %all: made_up has 2 results");
}

TEST_F(RowsAskedTest, Overwrites) {
  OpDef op = RowWise(Same);
  op.aliases = {{0, 0}};
  Build(op, float_rows_, ValueKind::kCache);
  EXPECT_EQ(Reason(), "stops at %all: made_up overwrites an operand");
}

TEST_F(RowsAskedTest, ChangesRows) {
  const OpDef op = RowWise(OtherRows);
  Build(op, float_rows_);
  EXPECT_EQ(Reason(), "stops at %all: made_up changes the rows from f32[T,4] to f32[64,4]");
}

TEST_F(RowsAskedTest, OperandThatCannotBeGathered) {
  const OpDef op = RowWise(ToFloat);
  Build(op, {DType::kI32, {Dim::Symbol("T")}});
  EXPECT_EQ(Reason(), "stops at %all: rows of i32[T] cannot be gathered");
}

TEST_F(RowsAskedTest, RowsComputedTooLate) {
  const OpDef op = RowWise(Same);
  given_rows_ = graph_.AddValue("given_rows", {DType::kI32, {Dim::Symbol("R")}}, ValueKind::kParam);
  rows_kind_ = ValueKind::kResult;
  Build(op, float_rows_);
  EXPECT_EQ(Reason(), "stops at %all: %rows is computed after it");
}

}  // namespace
}  // namespace renga
