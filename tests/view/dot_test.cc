// Graphviz text: what stands in it, and that no name breaks out of its quotes.
#include "tools/view/dot.h"

#include <string>
#include <string_view>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/view/sample_graphs.h"

namespace renga {
namespace {

using testing::HasSubstr;
using testing::Not;

int Count(std::string_view text, std::string_view part) {
  int count = 0;
  for (size_t at = text.find(part); at != text.npos; at = text.find(part, at + part.size())) {
    ++count;
  }
  return count;
}

// The text without its quoted strings; reads quotes as Graphviz does. Fails on an open one.
std::string Unquoted(std::string_view text) {
  std::string bare;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (quoted && text[i] == '\\') {
      ++i;
    } else if (text[i] == '"') {
      quoted = !quoted;
    } else if (!quoted) {
      bare += text[i];
    }
  }
  EXPECT_FALSE(quoted) << text;
  return bare;
}

TEST(GraphDot, ClustersLayersAndDrawsEveryEdge) {
  const Graph graph = SmallGraph();
  const std::string dot = GraphDot(graph);
  EXPECT_THAT(dot, HasSubstr("subgraph cluster_layer_0 {"));
  EXPECT_THAT(dot, HasSubstr("label=\"layer 1\""));
  EXPECT_THAT(dot, HasSubstr(R"([label="%1.norm\nrms_norm {eps=1e-05}\nf32[T,3]"])"));
  EXPECT_THAT(dot, HasSubstr(R"([label="@blk.1.proj.weight\nf32[3,3]", shape=note)"));
  int operands = 0;
  for (const Node& node : graph.nodes) {
    for (const ValueId id : node.operands) operands += id != kNoValue;
  }
  EXPECT_EQ(Count(dot, " -> n"), operands);
  EXPECT_EQ(Count(dot, "shape=note"), 4);
  // A weight stands in the cluster of the layer that uses it.
  EXPECT_LT(dot.find("@blk.0.norm.weight"), dot.find("cluster_layer_1"));
  EXPECT_GT(dot.find("@blk.1.norm.weight"), dot.find("cluster_layer_1"));
}

TEST(GraphDot, NamesStayInTheirQuotes) {
  const std::string dot = GraphDot(SmallGraph());
  const std::string bare = Unquoted(dot);
  EXPECT_THAT(bare, Not(HasSubstr("script")));
  EXPECT_EQ(Count(bare, "{"), Count(bare, "}"));
  for (const char c : dot) EXPECT_TRUE(c == '\n' || (c >= ' ' && c < 0x7f)) << int{c};
}

TEST(GraphDot, FilterLeavesOutNodesAndWhatOnlyTheyUse) {
  const Graph graph = SmallGraph();
  const std::string dot =
      GraphDot(graph, [&](const Node& node) { return NodeName(graph, node) == "1.proj"; });
  EXPECT_THAT(dot, Not(HasSubstr("cluster_layer_0")));
  EXPECT_THAT(dot, Not(HasSubstr("blk.0")));
  EXPECT_THAT(dot, HasSubstr(R"("%1.norm\nf32[T,3]", shape=plaintext)"));
  EXPECT_EQ(Count(dot, " -> n"), 2);
}

}  // namespace
}  // namespace renga
