// Packed weights in graphs: text, rules, values, and what is left without them.
#include <cstring>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/status.h"
#include "ir/core/verify.h"
#include "ir/reference/interpreter.h"
#include "ir/text/parse.h"
#include "ir/text/print.h"

namespace renga {
namespace {

using ::testing::HasSubstr;

constexpr std::string_view kText = R"(ir 1
dim T = 1..8
weight @w: q8_0[5,32]
weight @w.packed: q8_0[5,32] = pack(@w) {layout=rows8}
weight @"odd name": q4_0[2,3,64]
weight @other: q4_0[2,3,64] = pack(@"odd name") {layout=rows8}
graph @step(%x: f32[T,32]) {
  %file: f32[T,5] = linear(%x, @w)
  %packed: f32[T,5] = linear(%x, @w.packed)
  return %file, %packed
}
)";

class PackedWeightTest : public testing::Test {
 protected:
  void SetUp() override {
    absl::StatusOr<Graph> graph = Parse(kText, "test.ir");
    ASSERT_TRUE(graph.ok()) << graph.status();
    graph_ = *std::move(graph);
  }
  Value& Packed() { return graph_.values[graph_.FindValue("w.packed", /*weight=*/true)]; }
  std::string Error() const { return std::string(ToStd(Verify(graph_).message())); }

  Graph graph_;
};

TEST_F(PackedWeightTest, PrintsAsItWasWritten) {
  EXPECT_EQ(Print(graph_), kText);
  EXPECT_TRUE(Verify(graph_).ok());
  EXPECT_TRUE(Packed().packed());
  EXPECT_EQ(graph_.value(Packed().source).name, "w");
}

TEST_F(PackedWeightTest, VerifierKnowsTheRules) {
  const Graph good = graph_;
  Packed().layout = "rows9";
  EXPECT_EQ(Error(), "@w.packed: layout: expected one of mma, rows8, got rows9");
  graph_ = good;
  Packed().source = kNoValue;
  EXPECT_EQ(Error(), "@w.packed: pack: expected a weight declared before, got id -1");
  graph_ = good;
  Packed().source = 1000;
  EXPECT_THAT(Error(), HasSubstr("expected a weight declared before, got id 1000"));
  graph_ = good;
  Packed().source = graph_.params[0];
  EXPECT_EQ(Error(), "@w.packed: pack: expected a weight declared before, got %x");
  graph_ = good;
  std::swap(graph_.weights[0], graph_.weights[1]);
  EXPECT_EQ(Error(), "@w.packed: pack: expected a weight declared before, got @w");
  graph_ = good;
  Packed().type.shape[0] = Dim(6);
  EXPECT_EQ(Error(), "@w.packed: pack: expected q8_0[5,32] as @w, got q8_0[6,32]");
  graph_ = good;
  graph_.values[graph_.params[0]].layout = "rows8";
  EXPECT_EQ(Error(), "%x: pack: expected a weight declared before, got id -1");
  graph_ = good;
  graph_.values[graph_.nodes[0].results[0]].source = graph_.weights[0];
  EXPECT_THAT(Error(), HasSubstr("%file: pack: expected a weight declared before, got @w"));
}

TEST_F(PackedWeightTest, CompactKeepsSources) {
  graph_.values.insert(graph_.values.begin(), Value{"left.over", {}, ValueKind::kResult});
  const auto shift = [](std::vector<ValueId>& ids) {
    for (ValueId& id : ids) id = id == kNoValue ? kNoValue : id + 1;
  };
  for (std::vector<ValueId>* ids :
       {&graph_.params, &graph_.weights, &graph_.caches, &graph_.returns}) {
    shift(*ids);
  }
  for (Node& node : graph_.nodes) {
    shift(node.operands);
    shift(node.results);
  }
  for (Value& value : graph_.values) value.source = value.packed() ? value.source + 1 : kNoValue;
  Compact(graph_);
  EXPECT_EQ(Print(graph_), kText);
}

TEST_F(PackedWeightTest, WithoutPackingEverythingReadsTheSources) {
  RemovePacking(graph_);
  EXPECT_TRUE(Verify(graph_).ok());
  EXPECT_EQ(Print(graph_), R"(ir 1
dim T = 1..8
weight @w: q8_0[5,32]
weight @"odd name": q4_0[2,3,64]
graph @step(%x: f32[T,32]) {
  %file: f32[T,5] = linear(%x, @w)
  %packed: f32[T,5] = linear(%x, @w)
  return %file, %packed
}
)");
}

// The interpreter asks for the file's bytes alone.
TEST_F(PackedWeightTest, InterpretsAsItsSource) {
  std::vector<uint8_t> w(5 * 34), odd(2 * 3 * 2 * 18);
  for (size_t i = 0; i < w.size(); ++i) w[i] = static_cast<uint8_t>(i * 37 & 0x3F);
  std::vector<std::string> asked;
  const auto interpreter = Interpreter::Create(
      graph_,
      [&](const std::string& name) -> absl::StatusOr<absl::Span<const uint8_t>> {
        asked.push_back(name);
        return absl::MakeConstSpan(name == "w" ? w : odd);
      },
      {}, 1);
  ASSERT_TRUE(interpreter.ok()) << interpreter.status();
  EXPECT_THAT(asked, testing::ElementsAre("w", "odd name"));
  HostTensor x;
  x.dtype = DType::kF32;
  x.shape = {2, 32};
  for (int i = 0; i < 64; ++i) x.f.push_back(static_cast<float>(i % 7) - 3);
  ASSERT_TRUE((*interpreter)->Run({{"T", 2}}, {x}).ok());
  EXPECT_EQ((*interpreter)->Return(0).f, (*interpreter)->Return(1).f);
  EXPECT_NE((*interpreter)->Return(1).f[3], 0);
}

}  // namespace
}  // namespace renga
