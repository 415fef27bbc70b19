#include "ir/trace/replay.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "ir/text/parse.h"

namespace renga {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kGraph[] = R"(ir 1
dim T = 1..8
dim L = 1..8
weight @w: f32[2,2]
cache %c: f16[4,1,2]
graph @step(%x: f32[T,2], %cells: i32[T]) {
  %a: f32[T,2] = linear(%x, @w)
  %b: f32[T,2] = add(%a, %x)
  %h: f32[T,1,2] = split_heads(%b) {heads=1}
  %k: f16[4,1,2] = kv_append(%c, %h, %cells)
  return %b, %k
}
)";
constexpr float kWeights[] = {2, 0, 0, 3};

class ReplayTest : public testing::Test {
 protected:
  ReplayTest() {
    absl::StatusOr<Graph> graph = Parse(kGraph, "test");
    EXPECT_TRUE(graph.ok()) << graph.status();
    graph_ = *std::move(graph);
  }

  void Record(const char* name, std::vector<int64_t> shape, std::vector<float> numbers) {
    HostTensor tensor;
    const ValueId id = graph_.FindValue(name, false);
    tensor.dtype = graph_.value(id).type.dtype;
    tensor.shape = std::move(shape);
    if (tensor.dtype == DType::kI32) {
      tensor.i.assign(numbers.begin(), numbers.end());
    } else {
      tensor.f = std::move(numbers);
    }
    recorded_[id] = tensor;
  }

  absl::StatusOr<HostTensor> Replay(const char* name) {
    const WeightBytes weights =
        [](const std::string&) -> absl::StatusOr<absl::Span<const uint8_t>> {
      return absl::Span<const uint8_t>(reinterpret_cast<const uint8_t*>(kWeights),
                                       sizeof(kWeights));
    };
    const Replayer replayer(graph_, weights, 1);
    return replayer.Replay(graph_.FindValue(name, false),
                           [this](ValueId id) -> absl::StatusOr<std::optional<HostTensor>> {
                             const auto found = recorded_.find(id);
                             if (found == recorded_.end()) return std::nullopt;
                             return found->second;
                           },
                           {});
  }

  Graph graph_;
  std::map<ValueId, HostTensor> recorded_;
};

TEST_F(ReplayTest, EvaluatesTheNodeOnWhatWasRecorded) {
  Record("a", {1, 2}, {100, 200});  // not what the linear map gives
  Record("x", {1, 2}, {1, 2});
  Record("b", {1, 2}, {-1, -1});  // is computed, not looked up
  EXPECT_THAT(Replay("b")->f, ElementsAre(101, 202));
}

TEST_F(ReplayTest, GoesBackOverWhatWasNot) {
  Record("x", {2, 2}, {1, 2, 3, 4});
  EXPECT_THAT(Replay("b")->f, ElementsAre(3, 8, 9, 16));
}

TEST_F(ReplayTest, WritesIntoACacheThatWasGiven) {
  Record("h", {1, 1, 2}, {5, 6});
  Record("cells", {1}, {2});
  Record("c", {4, 1, 2}, {1, 1, 1, 1, 1, 1, 1, 1});
  EXPECT_THAT(Replay("k")->f, ElementsAre(1, 1, 1, 1, 5, 6, 1, 1));
}

TEST_F(ReplayTest, NamesWhatIsMissing) {
  EXPECT_THAT(std::string(Replay("b").status().message()),
              HasSubstr("replay of %b: expected a recorded value for %x, got none"));
}

TEST_F(ReplayTest, RefusesSizesThatContradictEachOther) {
  Record("a", {1, 2}, {100, 200});
  Record("x", {2, 2}, {1, 2, 3, 4});
  EXPECT_THAT(std::string(Replay("b").status().message()),
              HasSubstr("expected f32[T,2], got sizes ["));
  Record("x", {1, 3}, {1, 2, 3});
  EXPECT_FALSE(Replay("b").ok());
  Record("x", {2}, {1, 2});
  EXPECT_FALSE(Replay("b").ok());
}

}  // namespace
}  // namespace renga
