// Fused operators: complete, made of primitives, and evaluated through them.
#include "ir/core/decompose.h"

#include <set>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/strings.h"
#include "ir/core/op_def.h"
#include "ir/core/verify.h"
#include "ir/reference/interpreter.h"

namespace renga {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string Message(const absl::Status& status) { return std::string(ToStd(status.message())); }

// Every choice of the optional operands.
std::vector<std::vector<bool>> Presences(const OpDef& op) {
  std::vector<std::vector<bool>> all = {{}};
  for (const OperandDef& operand : op.operands) {
    const size_t before = all.size();
    for (size_t i = 0; operand.optional && i < before; ++i) all.push_back(all[i]);
    for (size_t i = 0; i < all.size(); ++i) all[i].push_back(i < before);
  }
  return all;
}

TEST(OpMeaningTest, EveryOperatorHasOne) {
  for (const OpDef* op : AllOps()) EXPECT_TRUE(CheckMeaning(*op).ok()) << CheckMeaning(*op);
}

// With all optional operands, none or some: only primitive operators, nothing computed for nothing,
// and no operand or attribute that means nothing.
TEST(OpMeaningTest, FusedOnesArePrimitivesThroughout) {
  for (const OpDef* op : AllOps()) {
    if (!op->fused()) continue;
    std::set<std::string> attrs;
    for (const std::vector<bool>& present : Presences(*op)) {
      SCOPED_TRACE(StrCat(op->name, " with operands ", StrJoin(present, "")));
      const auto parts = DecompositionPattern(*op, present);
      ASSERT_TRUE(parts.ok()) << parts.status();
      const Uses uses = ComputeUses(parts->graph);
      for (size_t i = 0; i < parts->graph.values.size(); ++i) {
        EXPECT_GT(uses.count[i], 0) << parts->graph.values[i].name;
      }
      for (const Node& node : parts->graph.nodes) {
        EXPECT_FALSE(node.op->fused());
        for (const auto& [name, value] : node.attrs) {
          const std::string* text = std::get_if<std::string>(&value);
          if (text != nullptr && text->starts_with("$")) attrs.insert(text->substr(1));
        }
      }
    }
    for (const AttrDef& attr : op->attrs) {
      EXPECT_EQ(attrs.count(std::string(attr.name)), 1u) << op->name << " " << attr.name;
    }
  }
}

// cache', y = store_add(cache, x, cells): an aliasing fused operator with two results.
OpDef StoreAdd() {
  OpDef op;
  op.name = "store_add";
  op.operands = {{"cache"}, {"x"}, {"cells"}, {"more", false, /*optional=*/true}};
  op.results = 2;
  op.aliases = {{0, 0}};
  op.decompose = [](DecomposeCall& call) {
    ValueId sum = call.Op("add", "sum", {call.in(1), call.in(1)});
    if (call.has(3)) sum = call.Op("add", "more_sum", {sum, call.in(3)});
    call.Return(call.Op("kv_append", "cells", {call.in(0), sum, call.in(2)}));
    call.Return(sum);
  };
  return op;
}

class FusedOpTest : public testing::Test {
 protected:
  FusedOpTest() {
    cache_ = graph_.AddValue("cache", {DType::kF16, {3, 1, 2}}, ValueKind::kCache);
    x_ = graph_.AddValue("x", {DType::kF32, {2, 1, 2}}, ValueKind::kParam);
    cells_ = graph_.AddValue("cells", {DType::kI32, {2}}, ValueKind::kParam);
  }

  void AddNode(ValueId more) {
    const std::vector<ValueId> operands = {cache_, x_, cells_, more};
    const auto types = InferTypes(graph_, op_, operands, {});
    ASSERT_TRUE(types.ok()) << types.status();
    EXPECT_THAT(*types, ElementsAre(graph_.value(cache_).type, graph_.value(x_).type));
    const ValueId cells = graph_.AddValue("new", (*types)[0], ValueKind::kResult);
    const ValueId sum = graph_.AddValue("sum", (*types)[1], ValueKind::kResult);
    graph_.nodes.push_back({&op_, operands, {cells, sum}, {}, {}});
    graph_.returns = {cells, sum};
    const absl::Status status = Verify(graph_);
    ASSERT_TRUE(status.ok()) << status;
  }

  OpDef op_ = StoreAdd();
  Graph graph_;
  ValueId cache_, x_, cells_;
};

TEST_F(FusedOpTest, IsEvaluatedThroughItsParts) {
  for (const bool more : {false, true}) {
    graph_.nodes.clear();
    AddNode(more ? x_ : kNoValue);
    auto interpreter = Interpreter::Create(
        graph_, [](const std::string&) { return absl::NotFoundError("none"); }, {}, 1);
    ASSERT_TRUE(interpreter.ok()) << interpreter.status();
    HostTensor x{DType::kF32, {2, 1, 2}, {1, 2, 3, 4}, {}};
    HostTensor cells{DType::kI32, {2}, {}, {2, 0}};
    std::vector<std::string> seen;
    const absl::Status status = (*interpreter)->Run({}, {x, cells}, [&](const Node& node, auto) {
      seen.push_back(std::string(node.op->name));
      return absl::OkStatus();
    });
    ASSERT_TRUE(status.ok()) << status;
    const float k = more ? 3 : 2;
    EXPECT_THAT((*interpreter)->Return(1).f, ElementsAre(k, 2 * k, 3 * k, 4 * k));
    // The cache itself was overwritten: the next run starts from it.
    EXPECT_THAT((*interpreter)->Cache(0).f, ElementsAre(3 * k, 4 * k, 0, 0, k, 2 * k));
    EXPECT_EQ((*interpreter)->Return(0).f, (*interpreter)->Cache(0).f);
    EXPECT_THAT(seen, ElementsAre("store_add"));
  }
}

TEST_F(FusedOpTest, ErrorsOfAPartNameOperatorAndPart) {
  EXPECT_EQ(Message(InferTypes(graph_, op_, {cache_, cells_, cells_, kNoValue}, {}).status()),
            "store_add: add: operand a: expected f32, f16 or bf16, got i32[2]");
  EXPECT_EQ(Message(InferTypes(graph_, op_, {cache_, kNoValue, cells_, kNoValue}, {}).status()),
            "store_add: operand x: expected a value, got none");
}

TEST_F(FusedOpTest, BadDecompositionsAreOurError) {
  op_.decompose = [](DecomposeCall& call) { call.Return(call.Op("attention", "y", {})); };
  absl::Status status = InferTypes(graph_, op_, {cache_, x_, cells_, kNoValue}, {}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(Message(status),
              HasSubstr("expected a primitive operator with one result, got atte"));
  op_.decompose = [](DecomposeCall& call) { call.Return(call.in(1)); };
  status = InferTypes(graph_, op_, {cache_, x_, cells_, kNoValue}, {}).status();
  EXPECT_EQ(Message(status), "store_add: decompose: expected 2 results, got 1");
}

}  // namespace
}  // namespace renga
