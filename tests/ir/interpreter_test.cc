// What the interpreter itself promises: checks of what it is given, caches that last from run to
// run, observers, and that chunks and threads do not change a bit of the logits of a real model.
#include "ir/reference/interpreter.h"

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/status.h"
#include "ir/text/parse.h"

namespace renga {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

HostTensor Floats(std::vector<float> values, std::vector<int64_t> shape,
                  DType dtype = DType::kF32) {
  HostTensor tensor;
  tensor.dtype = dtype;
  tensor.f = std::move(values);
  tensor.shape = std::move(shape);
  return tensor;
}

HostTensor Ints(std::vector<int32_t> values, std::vector<int64_t> shape) {
  HostTensor tensor;
  tensor.dtype = DType::kI32;
  tensor.i = std::move(values);
  tensor.shape = std::move(shape);
  return tensor;
}

// A parsed graph, its weights' bytes, and an interpreter for them.
class InterpreterTest : public testing::Test {
 protected:
  absl::Status Create(std::string_view text, const SymbolValues& fixed = {}) {
    auto graph = Parse(text, "test.ir");
    if (!graph.ok()) return graph.status();
    graph_ = *std::move(graph);
    auto interpreter = Interpreter::Create(
        graph_,
        [this](const std::string& name) -> absl::StatusOr<absl::Span<const uint8_t>> {
          const auto found = bytes_.find(name);
          if (found == bytes_.end()) return absl::NotFoundError(StrCat("no weight ", name));
          return absl::MakeConstSpan(found->second);
        },
        fixed, /*threads=*/1);
    if (!interpreter.ok()) return interpreter.status();
    interpreter_ = *std::move(interpreter);
    return absl::OkStatus();
  }

  std::string CreateError(std::string_view text, const SymbolValues& fixed = {}) {
    return std::string(Create(text, fixed).message());
  }

  std::string RunError(const SymbolValues& symbols, const std::vector<HostTensor>& params) {
    return std::string(interpreter_->Run(symbols, params).message());
  }

  std::map<std::string, std::vector<uint8_t>> bytes_;
  Graph graph_;
  std::unique_ptr<Interpreter> interpreter_;
};

constexpr std::string_view kAddGraph = R"(
ir 1
dim T = 1..3
graph @add(%a: f32[T,2], %b: f32[T,2]) {
  %y: f32[T,2] = add(%a, %b)
  return %y
})";

TEST_F(InterpreterTest, ParametersMustMatchTheGraph) {
  ASSERT_EQ(Create(kAddGraph), absl::OkStatus());
  const HostTensor good = Floats({1, 2}, {1, 2});
  EXPECT_EQ(RunError({{"T", 1}}, {good}), "expected 2 parameters, got 1");
  EXPECT_EQ(RunError({{"T", 1}}, {good, Floats({1, 2}, {2, 1})}),
            "%b: expected f32[T,2] with sizes 1x2, got f32 2x1");
  EXPECT_EQ(RunError({{"T", 1}}, {good, Ints({1, 2}, {1, 2})}),
            "%b: expected f32[T,2] with sizes 1x2, got i32 1x2");
  EXPECT_THAT(RunError({{"T", 1}}, {Floats({1}, {1, 2}), good}),
              HasSubstr("%a: expected f32[T,2] with sizes 1x2"))
      << "a tensor with fewer numbers than its shape says";
  ASSERT_EQ(interpreter_->Run({{"T", 1}}, {good, good}), absl::OkStatus());
  EXPECT_THAT(interpreter_->Return(0).f, ElementsAre(2, 4));
}

TEST_F(InterpreterTest, SymbolsStayWithinTheirBounds) {
  ASSERT_EQ(Create(kAddGraph), absl::OkStatus());
  EXPECT_EQ(RunError({}, {}), "symbol T: expected a size, got none");
  EXPECT_EQ(RunError({{"T", 0}}, {}), "symbol T: expected a size in 1..3, got 0");
  EXPECT_EQ(RunError({{"T", 4}}, {}), "symbol T: expected a size in 1..3, got 4");
  EXPECT_EQ(CreateError(kAddGraph, {{"T", -1}}), "symbol T: expected a size in 1..3, got -1");
  ASSERT_EQ(Create(kAddGraph, {{"T", 2}}), absl::OkStatus());
  EXPECT_EQ(RunError({{"T", 1}}, {}), "symbol T: expected the fixed size 2, got 1");
}

constexpr std::string_view kLinearGraph = R"(
ir 1
weight @w: f32[2,3]
graph @linear(%x: f32[1,3]) {
  %y: f32[1,2] = linear(%x, @w)
  return %y
})";

TEST_F(InterpreterTest, WeightsMustHaveTheBytesOfTheirType) {
  EXPECT_EQ(CreateError(kLinearGraph), "no weight w");
  bytes_["w"].resize(23);
  EXPECT_EQ(CreateError(kLinearGraph), "@w: expected 24 bytes for f32[2,3], got 23");
  bytes_["w"].resize(24);
  EXPECT_EQ(Create(kLinearGraph), absl::OkStatus());
}

TEST_F(InterpreterTest, WeightsOfUnknownLayoutAreRefused) {
  bytes_["w"].resize(48);  // integers that f32 cannot hold
  EXPECT_EQ(CreateError(R"(
ir 1
weight @w: i64[2,3]
graph @linear(%x: f32[1,3]) {
  %y: f32[1,2] = linear(%x, @w)
  return %y
})"),
            "@w: the reference interpreter has no dequantisation for i64");
}

TEST_F(InterpreterTest, WeightsNeedConstantSizes) {
  bytes_["w"].resize(12);
  EXPECT_EQ(CreateError(R"(
ir 1
dim N = 1..2
weight @w: f32[N,3]
graph @linear(%x: f32[1,3]) {
  %y: f32[1,N] = linear(%x, @w)
  return %y
})"),
            "@w: expected constant sizes, got f32[N,3]");
}

TEST_F(InterpreterTest, IntegersAreNoPlainOperands) {
  bytes_["rows"].resize(8);
  EXPECT_EQ(CreateError(R"(
ir 1
weight @rows: i32[2]
graph @gather(%x: f32[3,1]) {
  %y: f32[2,1] = gather_rows(%x, @rows)
  return %y
})"),
            "@rows: operand rows of gather_rows: expected no weight of integers, got one");
}

TEST_F(InterpreterTest, AnErrorOfAnOperatorShowsItsNode) {
  ASSERT_EQ(Create(R"(
ir 1
graph @gather(%x: f32[3,1], %rows: i32[1]) {
  %y: f32[1,1] = gather_rows(%x, %rows)
  return %y
})"),
            absl::OkStatus());
  EXPECT_EQ(RunError({}, {Floats({1, 2, 3}, {3, 1}), Ints({3}, {1})}),
            "%y: f32[1,1] = gather_rows(%x, %rows): rows[0]: expected 0..2, got 3");
}

constexpr std::string_view kCacheGraph = R"(
ir 1
dim C = 1..8
dim T = 1..8
cache %cache: f16[C,1,1]
graph @append(%x: f32[T,1,1], %cells: i32[T]) {
  %new: f16[C,1,1] = kv_append(%cache, %x, %cells)
  return %new
})";

TEST_F(InterpreterTest, CachesStartAsZerosAndLastFromRunToRunRoundedToTheirType) {
  ASSERT_EQ(Create(kCacheGraph, {{"C", 4}}), absl::OkStatus());
  ASSERT_EQ(interpreter_->Run({{"T", 2}}, {Floats({1, 2049}, {2, 1, 1}), Ints({0, 3}, {2})}),
            absl::OkStatus());
  // Of halves 2049 lies between 2048 and 2050; the even one wins.
  EXPECT_THAT(interpreter_->Return(0).f, ElementsAre(1, 0, 0, 2048));
  ASSERT_EQ(interpreter_->Run({{"T", 1}}, {Floats({0.1f}, {1, 1, 1}), Ints({1}, {1})}),
            absl::OkStatus());
  EXPECT_THAT(interpreter_->Return(0).f, ElementsAre(1, 0.0999755859375f, 0, 2048));
  EXPECT_EQ(interpreter_->Return(0).dtype, DType::kF16);
  EXPECT_EQ(&interpreter_->Return(0), &interpreter_->Cache(0)) << "one storage, two names";
  interpreter_->Cache(0).f[0] = -1;
  ASSERT_EQ(interpreter_->Run({{"T", 1}}, {Floats({5}, {1, 1, 1}), Ints({2}, {1})}),
            absl::OkStatus());
  EXPECT_THAT(interpreter_->Return(0).f, ElementsAre(-1, 0.0999755859375f, 5, 2048));
}

TEST_F(InterpreterTest, CachesNeedTheirSizesWhenCreated) {
  EXPECT_EQ(CreateError(kCacheGraph), "symbol C: expected a size, got none");
}

TEST_F(InterpreterTest, TheObserverSeesEveryNodeInOrderAndMayStopTheRun) {
  ASSERT_EQ(Create(R"(
ir 1
graph @chain(%x: f32[1,1]) {
  %two: f32[1,1] = add(%x, %x)
  %four: f32[1,1] = add(%two, %two)
  %ids: i32[1,1], %weights: f32[1,1] = moe_route(%four) {normalise=true, used=1}
  return %two, %weights
})"),
            absl::OkStatus());
  std::vector<std::string> seen;
  std::vector<float> first_numbers;
  const auto watch = [&](const Node& node, absl::Span<HostTensor* const> results) -> absl::Status {
    seen.push_back(StrCat(NodeName(graph_, node), " ", results.size()));
    if (!results[0]->f.empty()) first_numbers.push_back(results[0]->f[0]);
    return absl::OkStatus();
  };
  ASSERT_EQ(interpreter_->Run({}, {Floats({1.5}, {1, 1})}, watch), absl::OkStatus());
  EXPECT_THAT(seen, ElementsAre("two 1", "four 1", "ids 2"));
  EXPECT_THAT(first_numbers, ElementsAre(3, 6));
  EXPECT_THAT(interpreter_->Return(0).f, ElementsAre(3)) << "returns outlive their last reader";

  const auto stop = [](const Node& node, absl::Span<HostTensor* const>) {
    return absl::CancelledError("enough");
  };
  const absl::Status stopped = interpreter_->Run({}, {Floats({1.5}, {1, 1})}, stop);
  EXPECT_EQ(stopped.code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(stopped.message(), "%two: f32[1,1] = add(%x, %x): enough");
}

}  // namespace
}  // namespace renga
