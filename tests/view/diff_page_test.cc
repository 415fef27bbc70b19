// The diff page as text. What it does in a browser is tested by browser_test.py.
#include "tools/view/diff_page.h"

#include <limits>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/view/sample_graphs.h"

namespace renga {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

// Matches of the given nodes of a and b, with the indices that GraphDiff keeps of them.
GraphDiff LinedUp(std::vector<NodeMatch> matches) {
  GraphDiff diff;
  diff.matches = std::move(matches);
  for (size_t i = 0; i < diff.matches.size(); ++i) {
    const auto note = [i](const std::vector<int>& nodes, std::vector<int>* match_of) {
      for (const int node : nodes) {
        if (match_of->size() <= static_cast<size_t>(node)) match_of->resize(node + 1, -1);
        (*match_of)[node] = static_cast<int>(i);
      }
    };
    note(diff.matches[i].a, &diff.match_of_a);
    note(diff.matches[i].b, &diff.match_of_b);
  }
  return diff;
}

TEST(ReadingOrder, PutsWhatOnlyAHasBehindItsNeighbour) {
  // a: 0 1 2 3 4 5 6; b: 0 1 2 3. Removed: 0 at the start, 3 and 4 behind the fused {1, 2}, 6.
  const GraphDiff diff = LinedUp(
      {{{0}, {}}, {{1, 2}, {0}}, {{5}, {1, 2}}, {{}, {3}}, {{3}, {}}, {{4}, {}}, {{6}, {}}});
  EXPECT_THAT(ReadingOrder(diff), ElementsAre(0, 1, 4, 5, 2, 6, 3));
}

TEST(ReadingOrder, HoldsEveryMatchOnceWhateverTheOrder) {
  // b has a's nodes backwards; node 1 of a is gone.
  const GraphDiff diff = LinedUp({{{2}, {0}}, {{0}, {1}}, {{1}, {}}});
  EXPECT_THAT(ReadingOrder(diff), ElementsAre(0, 1, 2));
  EXPECT_THAT(ReadingOrder(GraphDiff()), ElementsAre());
}

TEST(SignOf, TellsAddedFromRemovedWithoutColour) {
  EXPECT_EQ(SignOf(ChangeKind::kAdded).sign, "+");
  EXPECT_EQ(SignOf(ChangeKind::kRemoved).sign, "-");
  EXPECT_EQ(SignOf(ChangeKind::kWeightValues).sign, "~");
  EXPECT_EQ(SignOf(ChangeKind::kOrder).sign, ">>");
}

TEST(DiffPageHtml, HoldsWhatTheDiffSays) {
  const Graph a = SmallGraph();
  Graph b = a;
  for (Node& node : b.nodes) {
    if (node.op->name == "rms_norm") node.attrs["eps"] = 0.5;
  }
  const GraphDiff diff = DiffGraphs(a, b);
  DiffPage page;
  page.a_title = "a</title>";
  page.b_title = "b.ir";
  page.a = &a;
  page.b = &b;
  page.diff = &diff;
  page.errors = {{.match = 0, .max_abs = std::numeric_limits<double>::quiet_NaN(), .first = true}};
  const std::string html = DiffPageHtml(page);
  EXPECT_THAT(html, HasSubstr("<title>a&lt;/title&gt; against b.ir</title>"));
  EXPECT_THAT(html, HasSubstr("\"attribute\",\"~\",\"changed\""));
  EXPECT_THAT(html, HasSubstr("\"errors\":[[0,null,0.0,1.0,\"\",true]]"));
  EXPECT_THAT(html, HasSubstr("\"0.5\""));
  EXPECT_THAT(html, Not(HasSubstr("<img")));
  EXPECT_TRUE(html.ends_with("</html>\n"));
}

}  // namespace
}  // namespace renga
