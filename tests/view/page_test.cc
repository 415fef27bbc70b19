// The page as text: complete, closed, and with nothing in it that a name brought along. What it
// does in a browser is tested by browser_test.py.
#include "tools/view/page.h"

#include <string>
#include <string_view>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/text/print.h"
#include "tests/view/sample_graphs.h"
#include "tools/view/html.h"

namespace renga {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::SizeIs;
using view::Json;

// The data block, read back.
Json DataOf(const std::string& html) {
  constexpr std::string_view kStart = "<script type=\"application/json\" id=\"data\">";
  const size_t start = html.find(kStart);
  EXPECT_NE(start, html.npos);
  const size_t end = html.find("</script>", start);
  const size_t from = start + kStart.size();
  Json data = Json::parse(html.substr(from, end - from), nullptr, /*allow_exceptions=*/false);
  EXPECT_TRUE(data.is_object());
  return data;
}

TEST(GraphPageHtml, HoldsTheGraphAsItPrints) {
  const Graph graph = SmallGraph();
  GraphPage page;
  page.title = "small.ir";
  page.graph = &graph;
  const Json data = DataOf(GraphPageHtml(page));
  ASSERT_THAT(data["graph"]["nodes"], SizeIs(graph.nodes.size()));
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    EXPECT_EQ(data["graph"]["lines"][i], PrintNode(graph, graph.nodes[i]));
  }
  // Once, though both norms have it.
  EXPECT_THAT(data["graph"]["attrs"], SizeIs(2));
  EXPECT_FALSE(data.contains("memory"));
  EXPECT_FALSE(data.contains("stats"));
}

TEST(GraphPageHtml, ProvenanceBringsItsSourceLines) {
  const Graph graph = SmallGraph();
  GraphPage page;
  page.graph = &graph;
  page.source = &graph;
  const Json source = DataOf(GraphPageHtml(page))["source"];
  ASSERT_THAT(source, SizeIs(1));  // %gone is in no graph
  EXPECT_EQ(source.begin().key(), StrCat("%", kHostileName));
}

TEST(GraphPageHtml, NoNameBecomesMarkup) {
  const Graph graph = SmallGraph();
  GraphPage page;
  page.title = "<b>\x1b[0m\xff\"'&";
  page.facts = {{"name", "</script><script>alert(1)</script>\xff\xe2\x80\xa8"}};
  page.ledger = {{"pass", "0.x", 0, plan::LedgerResult::kRejected, "<!--<script>"}};
  page.graph = &graph;
  const std::string html = GraphPageHtml(page);
  EXPECT_THAT(html, HasSubstr("<title>&lt;b&gt; [0m\xff&quot;&#39;&amp;</title>"));
  EXPECT_THAT(html, Not(HasSubstr("<img")));
  EXPECT_THAT(html, Not(HasSubstr("alert(1)<")));
  EXPECT_THAT(html, Not(HasSubstr("\x1b")));
  const std::string from_data = html.substr(html.find("id=\"data\">") + 10);
  const std::string data = from_data.substr(0, from_data.find("</script>"));
  for (const char* bad : {"<", ">", "&", "\xe2\x80\xa8"}) EXPECT_THAT(data, Not(HasSubstr(bad)));
  EXPECT_EQ(DataOf(html)["facts"][0][1], "</script><script>alert(1)</script>\xef\xbf\xbd\\u2028");
}

TEST(GraphPageHtml, PolicyNamesEveryScriptAndNothingElse) {
  const Graph graph = SmallGraph();
  GraphPage page;
  page.graph = &graph;
  const std::string html = GraphPageHtml(page);
  EXPECT_THAT(html, HasSubstr("default-src 'none'"));
  for (const char* bad : {"unsafe", "http:", "https:", "src=", "href=", "@import", "{{"}) {
    EXPECT_THAT(html.substr(0, html.find("id=\"data\">")), Not(HasSubstr(bad)));
  }
  // SHA-256 in base64 is 44 characters, the last of them "=".
  for (const view::Asset* asset : {&view::kViewCss, &view::kModelJs, &view::kDumpJs}) {
    EXPECT_THAT(asset->sha256, SizeIs(44));
    EXPECT_THAT(html, HasSubstr(StrCat("'sha256-", asset->sha256, "'")));
    EXPECT_THAT(html, HasSubstr(std::string(asset->text)));
  }
}

TEST(GraphPageHtml, TracedValuesAreFoundByName) {
  const Graph graph = SmallGraph();
  Trace trace;
  trace.run.device = "reference";
  trace.values = {{.name = "elsewhere"}, {.name = "1.norm", .shape = {2, 3}, .axes = {"token"}}};
  trace.values[1].stats.nans = 5;
  GraphPage page;
  page.graph = &graph;
  page.trace = &trace;
  const Json data = DataOf(GraphPageHtml(page));
  ASSERT_THAT(data["stats"], SizeIs(1));
  EXPECT_EQ(data["graph"]["values"][data["stats"][0][0].get<int>()][0], "%1.norm");
  EXPECT_EQ(data["stats"][0][3], 6);
  EXPECT_EQ(data["stats"][0][9], 5);
}

// What a browser reads from the block.
std::string Shown(std::string_view text) {
  return Json::parse(view::ScriptJson(Json(std::string(text)))).get<std::string>();
}

TEST(ScriptJson, EndsNoElementAndNoLine) {
  EXPECT_EQ(view::ScriptJson(Json("a<b>&\xe2\x80\x93")), "\"a\\u003cb\\u003e\\u0026\xe2\x80\x93\"");
  EXPECT_EQ(Shown("<\\\"/>\n\t\xe2\x80\x93"), "<\\\"/>\n\t\xe2\x80\x93");
}

TEST(ScriptJson, ShowsWhatIsHidden) {
  EXPECT_EQ(Shown("\x1b[31m\r\b"), "\\u001b[31m\\r\\b");
  EXPECT_EQ(Shown("a\xe2\x80\xae"
                  "b\xe2\x81\xa7\xd8\x9c\xe2\x80\xa8"),
            "a\\u202eb\\u2067\\u061c\\u2028");
  EXPECT_EQ(Shown("\xe2\x80"), "\xef\xbf\xbd");
  EXPECT_EQ(Shown("\\u202e"), "\\u202e");
}

}  // namespace
}  // namespace renga
