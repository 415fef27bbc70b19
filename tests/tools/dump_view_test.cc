// dump --dot and --html as users call them.
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_folder.h"
#include "tests/tools/process.h"

namespace renga {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(DumpDot, KeepsToTheFilters) {
  const ProcessResult layer = Renga({"dump", StoryModel(), "--dot", "--layer", "3"});
  ASSERT_EQ(layer.exit_code, 0) << layer.Describe();
  EXPECT_THAT(layer.out, HasSubstr("cluster_layer_3"));
  EXPECT_THAT(layer.out, Not(HasSubstr("cluster_layer_2")));
  const ProcessResult after =
      Renga({"dump", StoryModel(), "--dot", "--after", "rows-asked", "--node", "output_norm"});
  ASSERT_EQ(after.exit_code, 0) << after.Describe();
  EXPECT_THAT(after.out, HasSubstr("f32[R,64]"));
  EXPECT_THAT(after.out, Not(HasSubstr("cluster")));
  const ProcessResult around =
      Renga({"dump", StoryModel(), "--dot", "--around", "2.gate", "--depth", "1"});
  ASSERT_EQ(around.exit_code, 0) << around.Describe();
  EXPECT_THAT(around.out, HasSubstr("%2.act\\nglu"));
  EXPECT_THAT(around.out, Not(HasSubstr("%2.up\\nlinear")));
}

TEST(DumpHtml, WritesAPageOfEveryKindOfFile) {
  const TempFolder folder;
  const std::string plan = folder.File("s.plan"), ir = folder.File("s.ir");
  ASSERT_EQ(Renga({"compile", StoryModel(), "-o", plan}).exit_code, 0);
  ASSERT_EQ(Renga({"dump", StoryModel(), "-o", ir}).exit_code, 0);
  for (const std::string& file : {StoryModel(), plan, ir}) {
    const std::string html = folder.File("s.html");
    const ProcessResult result = Renga({"dump", file, "--html", html});
    ASSERT_EQ(result.exit_code, 0) << file << result.Describe();
    EXPECT_EQ(result.out, "");
    std::ifstream file_of_page(html);
    const std::string page(std::istreambuf_iterator<char>(file_of_page), {});
    EXPECT_THAT(page, HasSubstr("\"%3.q_proj: f32[T,64] = linear("));
    EXPECT_EQ(page.find("\"memory\":{") != page.npos, file != ir);
    EXPECT_TRUE(page.ends_with("</html>\n"));
  }
}

TEST(DumpHtml, ShowsTheStatisticsOfATrace) {
  const TempFolder folder;
  const std::string trace = folder.File("s.trace"), html = folder.File("s.html");
  ASSERT_EQ(Renga({"trace", StoryModel(), "-p", "Once", "-o", trace}).exit_code, 0);
  const ProcessResult result = Renga({"dump", StoryModel(), "--html", html, "--trace", trace});
  ASSERT_EQ(result.exit_code, 0) << result.Describe();
  std::ifstream page(html);
  EXPECT_THAT(std::string(std::istreambuf_iterator<char>(page), {}), HasSubstr("\"stats\":[["));
  const std::string other = folder.Write("x.ir",
                                         "ir 1\ngraph @g(%x: f32[3]) {\n"
                                         "  %sum: f32[3] = add(%x, %x)\n  return %sum\n}\n");
  const ProcessResult mismatch = Renga({"dump", other, "--html", html, "--trace", trace});
  EXPECT_TRUE(mismatch.IsCleanError(2)) << mismatch.Describe();
  EXPECT_THAT(mismatch.err, HasSubstr("name a trace of that model"));
}

TEST(DumpHtml, RefusesWhatDoesNotGoTogether) {
  const TempFolder folder;
  const std::string html = folder.File("s.html");
  for (const std::vector<std::string>& flags :
       std::vector<std::vector<std::string>>{{"--html", html, "--json"},
                                             {"--html", html, "--dot"},
                                             {"--html", html, "-o", html},
                                             {"--html", html, "--layer", "1"},
                                             {"--html", html, "--around", "2.gate"},
                                             {"--html", html, "--stage", "plan"},
                                             {"--html", StoryModel()},
                                             {"--html", html, "--after", "no-such-pass"},
                                             {"--html", folder.File("none/s.html")},
                                             {"--trace", html},
                                             {"--html", html, "--trace", folder.File("none.trace")},
                                             {"--dot", "--json"},
                                             {"--dot", "--stage", "weights"}}) {
    std::vector<std::string> args = {"dump", StoryModel()};
    args.insert(args.end(), flags.begin(), flags.end());
    const ProcessResult result = Renga(args);
    EXPECT_TRUE(result.IsCleanError(2)) << flags.back() << result.Describe();
  }
}

}  // namespace
}  // namespace renga
