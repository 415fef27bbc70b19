#include "passes/core/runner.h"

#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/strings.h"
#include "ir/text/parse.h"
#include "ir/text/print.h"
#include "passes/core/pipeline.h"
#include "tests/ir/golden_file.h"

namespace renga {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::string_view kText = R"(ir 1
dim T = 1..8
graph @step(%x: f32[T,4]) {
  %a: f32[T,4] = add(%x, %x)
  %b: f32[T,4] = add(%x, %x)
  return %b
}
)";

absl::StatusOr<bool> Nothing(Graph&, Ledger&) { return false; }
absl::StatusOr<bool> ClaimsChange(Graph&, Ledger&) { return true; }
absl::StatusOr<bool> HidesChange(Graph& graph, Ledger&) {
  graph.name = "other";
  return false;
}
absl::StatusOr<bool> Rename(Graph& graph, Ledger& ledger) {
  graph.name = "other";
  ledger.Matched("12.q", "renamed");
  ledger.Rejected("out", "no layer");
  return true;
}
absl::StatusOr<bool> Breaks(Graph& graph, Ledger&) {
  graph.nodes.pop_back();
  return true;
}
absl::StatusOr<bool> Fails(Graph&, Ledger&) {
  return absl::UnimplementedError("%a: expected f32, got q4_k");
}
absl::StatusOr<bool> LeavesUnusedValue(Graph& graph, Ledger&) {
  graph.AddValue("a", graph.value(0).type, ValueKind::kResult);  // a second %a, unused
  return false;
}

class RunnerTest : public testing::Test {
 protected:
  void SetUp() override {
    absl::StatusOr<Graph> graph = Parse(kText, "test.ir");
    ASSERT_TRUE(graph.ok()) << graph.status();
    graph_ = *std::move(graph);
  }

  absl::StatusOr<std::vector<PassRecord>> Run(std::vector<Pass> pipeline) {
    return RunPasses(graph_, pipeline, options_, &ledger_);
  }

  Graph graph_;
  Ledger ledger_;
  RunPassesOptions options_;
};

TEST_F(RunnerTest, RecordsWhatEachPassDid) {
  const auto records = RunPasses(graph_, options_, &ledger_);
  ASSERT_TRUE(records.ok()) << records.status();
  ASSERT_EQ(records->size(), DefaultPipeline().size());
  EXPECT_EQ((*records)[0].name, "remove-dead-nodes");
  EXPECT_TRUE((*records)[0].changed);
  EXPECT_EQ((*records)[0].nodes_before, 2);
  EXPECT_EQ((*records)[0].nodes_after, 1);
  EXPECT_GE((*records)[0].ms, 0);
  EXPECT_EQ((*records)[1].name, "rows-asked");
  EXPECT_FALSE((*records)[1].changed);
}

TEST_F(RunnerTest, LedgerNamesPassNodeAndLayer) {
  ASSERT_TRUE(Run({{"rename", Rename, ""}}).ok());
  ASSERT_EQ(ledger_.entries.size(), 2u);
  EXPECT_EQ(ledger_.entries[0].pass, "rename");
  EXPECT_EQ(ledger_.entries[0].node, "12.q");
  EXPECT_EQ(ledger_.entries[0].layer, 12);
  EXPECT_TRUE(ledger_.entries[0].matched);
  EXPECT_EQ(ledger_.entries[0].reason, "renamed");
  EXPECT_EQ(ledger_.entries[1].layer, -1);
  EXPECT_FALSE(ledger_.entries[1].matched);
}

TEST_F(RunnerTest, ClaimedChangeThatIsNone) {
  const auto records = Run({{"liar", ClaimsChange, ""}});
  EXPECT_EQ(records.status().code(), absl::StatusCode::kInternal);
  EXPECT_EQ(ToStd(records.status().message()),
            "changed: expected another text, got the same; after pass liar");
}

TEST_F(RunnerTest, HiddenChange) {
  const auto records = Run({{"liar", HidesChange, ""}});
  EXPECT_EQ(records.status().code(), absl::StatusCode::kInternal);
  EXPECT_EQ(ToStd(records.status().message()),
            "changed: expected the same text, got another; after pass liar");
}

TEST_F(RunnerTest, PassThatBreaksTheGraph) {
  const auto records = Run({{"nothing", Nothing, ""}, {"breaks", Breaks, ""}});
  EXPECT_EQ(records.status().code(), absl::StatusCode::kInternal);
  EXPECT_EQ(ToStd(records.status().message()),
            "return: expected a value defined before, got %b; after pass breaks");
}

TEST_F(RunnerTest, PassThatFailsKeepsItsCode) {
  const auto records = Run({{"fails", Fails, ""}});
  EXPECT_EQ(records.status().code(), absl::StatusCode::kUnimplemented);
  EXPECT_EQ(ToStd(records.status().message()), "%a: expected f32, got q4_k; after pass fails");
}

TEST_F(RunnerTest, BrokenInputBlamesNoPass) {
  graph_.nodes.pop_back();
  const auto records = Run({{"nothing", Nothing, ""}});
  EXPECT_EQ(ToStd(records.status().message()),
            "before the first pass: return: expected a value defined before, got %b");
}

TEST_F(RunnerTest, UnusedValuesAreDroppedAfterAPass) {
  const size_t values = graph_.values.size();
  ASSERT_TRUE(Run({{"leaves", LeavesUnusedValue, ""}}).ok());
  EXPECT_EQ(graph_.values.size(), values);
}

TEST_F(RunnerTest, OnlyAndDisabled) {
  const std::vector<Pass> pipeline = {
      {"one", Nothing, ""}, {"two", Nothing, ""}, {"three", Nothing, ""}};
  const auto names = [&] {
    std::vector<std::string> result;
    const auto records = Run(pipeline);
    EXPECT_TRUE(records.ok()) << records.status();
    for (const PassRecord& record : *records) result.push_back(record.name);
    return result;
  };
  options_.only = {"three", "one"};
  EXPECT_THAT(names(), ElementsAre("one", "three"));
  options_.disabled = {"one"};
  EXPECT_THAT(names(), ElementsAre("three"));
  options_.only = std::vector<std::string>{};
  EXPECT_THAT(names(), ElementsAre());
  options_.only = std::nullopt;
  EXPECT_THAT(names(), ElementsAre("two", "three"));
}

TEST_F(RunnerTest, UnknownNamesAreErrorsThatListTheKnown) {
  options_.disabled = {"three"};
  EXPECT_EQ(ToStd(Run({{"one", Nothing, ""}, {"two", Nothing, ""}}).status().message()),
            "pass: expected one of one, two, got three");
  options_.disabled = {};
  options_.only = {"four"};
  EXPECT_EQ(ToStd(Run({{"one", Nothing, ""}}).status().message()),
            "pass: expected one of one, got four");
}

TEST_F(RunnerTest, DumpsTheGraphAsGivenAndAfterEachPass) {
  const std::filesystem::path folder =
      std::filesystem::path(testing::TempDir()) / StrCat("renga_dump_", getpid());
  std::filesystem::create_directories(folder);
  options_.dump_dir = folder.string();
  std::vector<std::string> seen;
  options_.on_dump = [&](int index, std::string_view name, std::string_view text) {
    seen.push_back(StrCat(index, " ", name, " ", text.size()));
  };
  options_.disabled = {"skipped"};
  const absl::Status status =
      Run({{"skipped", Nothing, ""}, {"rename", Rename, ""}, {"breaks", Breaks, ""}}).status();
  EXPECT_THAT(std::string(ToStd(status.message())), HasSubstr("after pass breaks"));
  EXPECT_THAT(
      seen, ElementsAre(StrCat("0 frontend ", kText.size()), StrCat("2 rename ", kText.size() + 1),
                        testing::StartsWith("3 breaks ")));
  EXPECT_EQ(ReadTestFile((folder / "00.frontend.ir").string()), kText);
  EXPECT_THAT(ReadTestFile((folder / "02.rename.ir").string()), HasSubstr("graph @other("));
  EXPECT_TRUE(std::filesystem::exists(folder / "03.breaks.ir"));  // what one wants to look at
  EXPECT_FALSE(std::filesystem::exists(folder / "01.skipped.ir"));
  std::filesystem::remove_all(folder);
}

TEST_F(RunnerTest, UnwritableDumpFolderIsAnError) {
  options_.dump_dir = "/nonexistent/folder";
  EXPECT_FALSE(Run({{"nothing", Nothing, ""}}).ok());
}

// Renames the graph, unless it is told to leave %a alone.
absl::StatusOr<bool> RenamesAtA(Graph& graph, Ledger& ledger) {
  if (!ledger.Allows("a")) return false;
  return Rename(graph, ledger);
}

TEST_F(RunnerTest, ASingleSiteCanBeLeftOut) {
  options_.sites_off = {"rename:a"};
  const auto records = Run({{"rename", RenamesAtA, ""}});
  ASSERT_TRUE(records.ok()) << records.status();
  EXPECT_FALSE((*records)[0].changed);
  ASSERT_EQ(ledger_.entries.size(), 1u);
  EXPECT_EQ(ledger_.entries[0].node, "a");
  EXPECT_FALSE(ledger_.entries[0].matched);
  EXPECT_EQ(ledger_.entries[0].reason, kLeftOut);
}

TEST_F(RunnerTest, SitesThatAreNone) {
  options_.sites_off = {"rename:b"};
  const absl::Status gone = Run({{"rename", RenamesAtA, ""}}).status();
  EXPECT_THAT(std::string(gone.message()), HasSubstr("expected a node that the pass rewrites, got "
                                                     "rename:b"));
  options_.sites_may_be_gone = true;
  EXPECT_TRUE(Run({{"rename", Nothing, ""}}).ok());
  options_.sites_off = {"no-pass:b"};
  EXPECT_THAT(std::string(Run({{"rename", Nothing, ""}}).status().message()),
              HasSubstr("expected one of rename, got no-pass"));
  options_.sites_off = {"rename:a"};
  EXPECT_THAT(std::string(Run({{"rename", Nothing, "", /*whole=*/true}}).status().message()),
              HasSubstr("cannot leave out one node, got rename:a"));
}

}  // namespace
}  // namespace renga
