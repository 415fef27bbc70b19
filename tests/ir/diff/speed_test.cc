// Nothing is quadratic in nodes. The limits are far above what a slow machine under a sanitizer
// needs, and far below what a square would take.
#include <chrono>
#include <string>

#include "gtest/gtest.h"
#include "ir/base/strings.h"
#include "ir/diff/graph_diff.h"
#include "tests/ir/diff/llama_text.h"

namespace renga {
namespace {

constexpr double kLimitSeconds = 20;

double Seconds(const Graph& a, const Graph& b, const GraphDiffOptions& options, GraphDiff* diff) {
  const auto start = std::chrono::steady_clock::now();
  *diff = DiffGraphs(a, b, options);
  const std::string text = GraphDiffText(a, b, *diff);
  MatchedValues(a, b, *diff);
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  EXPECT_LT(seconds, kLimitSeconds);
  EXPECT_LT(text.size(), size_t{100} << 10);
  return seconds;
}

void RenameAll(Graph* graph) {
  int number = 0;
  for (Value& value : graph->values) {
    if (value.kind != ValueKind::kParam) value.name = StrCat("v", ++number);
  }
}

// `count` additions of the parameter to itself or, in a chain, of each result to itself.
Graph Alike(int count, bool chain, std::string_view prefix) {
  Graph graph;
  graph.name = "step";
  const TensorType type{DType::kF32, {Dim(4)}};
  ValueId from = graph.AddValue("x", type, ValueKind::kParam);
  for (int i = 0; i < count; ++i) {
    const ValueId result = graph.AddValue(StrCat(prefix, i), type, ValueKind::kResult);
    graph.nodes.push_back({.op = FindOp("add"), .operands = {from, from}, .results = {result}});
    if (chain) from = result;
  }
  return graph;
}

TEST(GraphDiffSpeed, EightyLayers) {
  const Graph a = Parsed(LlamaText(80));
  GraphDiff diff;
  RecordProperty("same_ms", static_cast<int>(1e3 * Seconds(a, a, {}, &diff)));
  EXPECT_TRUE(diff.equal());
  Graph b = a;
  RenameAll(&b);
  RecordProperty("renamed_ms", static_cast<int>(1e3 * Seconds(a, b, {}, &diff)));
  EXPECT_EQ(diff.changes.size(), a.nodes.size() + a.weights.size() + a.caches.size());
  RecordProperty("ignored_ms",
                 static_cast<int>(1e3 * Seconds(a, b, {.ignore_names = true}, &diff)));
  EXPECT_TRUE(diff.equal());
  // Everything renamed and something different at either end: no fingerprint survives.
  for (Node& node : b.nodes) {
    if (&node == &b.nodes[1] || &node == &b.nodes[b.nodes.size() - 3]) node.attrs["eps"] = 0.5;
  }
  const double seconds = Seconds(a, b, {.ignore_names = true}, &diff);
  RecordProperty("edited_ms", static_cast<int>(1e3 * seconds));
  EXPECT_EQ(diff.changes.size(), 2u) << GraphDiffText(a, b, diff);
}

TEST(GraphDiffSpeed, ManyNodesThatLookAlike) {
  for (const bool chain : {false, true}) {
    GraphDiff diff;
    const Graph a = Alike(40'000, chain, "a");
    RecordProperty(chain ? "chain_ms" : "alike_ms",
                   static_cast<int>(1e3 * Seconds(a, Alike(39'999, chain, "b"), {}, &diff)));
    size_t removed = 0;
    for (const Change& change : diff.changes) removed += change.kind == ChangeKind::kRemoved;
    EXPECT_EQ(removed, 1u);
  }
}

TEST(GraphDiffSpeed, ManyNodesOfTwoGraphsThatDiffer) {
  Graph a = Alike(25'000, true, "a"), b = Alike(25'000, true, "b");
  for (size_t n = 0; n < b.nodes.size(); ++n) b.nodes[n].attrs["n"] = static_cast<int64_t>(n);
  GraphDiff diff;
  RecordProperty("ms", static_cast<int>(1e3 * Seconds(a, b, {}, &diff)));
  EXPECT_FALSE(diff.equal());
}

}  // namespace
}  // namespace renga
