// Runs the cases of tests/passes/*.ir: a graph, a pass, and the whole text expected after it.
//
//   // Tests that ...
//   // RUN: rows-asked
//   <graph>
//   // EXPECT: unchanged        or  // EXPECT: and the text, or  // EXPECT-ERROR: "part of it"
//   // LEDGER: matched logits: reason
//   // CHOICE: layout of blk.0.attn_q.weight: rows8 (of file, rows8): reason
//
// UPDATE_GOLDEN=1 rewrites what follows the graph, expected errors excepted.
#include <algorithm>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/strings.h"
#include "ir/text/parse.h"
#include "ir/text/print.h"
#include "passes/core/pipeline.h"
#include "passes/core/runner.h"
#include "tests/ir/golden_file.h"

namespace renga {
namespace {

std::vector<std::string> GoldenFiles() {
  std::vector<std::string> paths;
  for (const auto& entry : std::filesystem::directory_iterator(RENGA_SOURCE_DIR "/tests/passes")) {
    if (entry.path().extension() == ".ir") paths.push_back(entry.path().string());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

std::vector<std::string> PassNames(std::string_view line) {
  std::vector<std::string> names(1);
  for (char c : line) {
    if (c == ',') {
      names.emplace_back();
    } else if (c != ' ') {
      names.back() += c;
    }
  }
  return names;
}

// What the case's tail should be, from "// EXPECT" on.
std::string Outcome(const std::string& graph_text, const std::string& file,
                    const std::vector<std::string>& passes) {
  absl::StatusOr<Graph> graph = Parse(graph_text, file);
  if (!graph.ok()) return StrCat("// EXPECT-ERROR: ", graph.status().message(), "\n");
  const std::string before = Print(*graph);
  Ledger ledger;
  RunPassesOptions options;
  options.only = passes;
  const auto records = RunPasses(*graph, options, &ledger);
  if (!records.ok()) return StrCat("// EXPECT-ERROR: ", records.status().message(), "\n");
  const std::string after = Print(*graph);
  std::string outcome = after == before ? "// EXPECT: unchanged\n" : StrCat("// EXPECT:\n", after);
  for (const LedgerEntry& entry : ledger.entries) {
    StrAppend(&outcome, "// LEDGER: ", entry.matched ? "matched " : "rejected ", entry.node, ": ",
              entry.reason, "\n");
  }
  for (const Choice& choice : ledger.choices) {
    StrAppend(&outcome, "// CHOICE: ", choice.what, " of ", choice.subject, ": ", choice.chosen,
              " (of ", StrJoin(choice.considered, ", "), "): ", choice.reason, "\n");
  }
  return outcome;
}

class GoldenTest : public testing::TestWithParam<std::string> {};

TEST_P(GoldenTest, File) {
  std::vector<std::string> cases = SplitCases(ReadTestFile(GetParam()));
  for (std::string& text : cases) {
    SCOPED_TRACE(text.substr(0, text.find('\n')));
    ASSERT_EQ(text.rfind("// Tests that ", 0), 0u);
    constexpr std::string_view kRun = "\n// RUN: ";
    const size_t run = text.find(kRun);
    ASSERT_NE(run, std::string::npos);
    const size_t graph_begin = text.find('\n', run + 1) + 1;
    const std::vector<std::string> passes = PassNames(
        std::string_view(text).substr(run + kRun.size(), graph_begin - 1 - run - kRun.size()));
    const size_t expect = std::min(text.find("// EXPECT", graph_begin), text.size());
    const std::string expected = text.substr(expect);
    const std::string actual = Outcome(text.substr(graph_begin, expect - graph_begin),
                                       std::filesystem::path(GetParam()).filename(), passes);
    constexpr std::string_view kError = "// EXPECT-ERROR: \"";
    if (expected.rfind(kError, 0) == 0) {
      const size_t end = expected.rfind('"');
      ASSERT_GT(end, kError.size()) << "empty expected error";
      EXPECT_EQ(actual.rfind("// EXPECT-ERROR: ", 0), 0u) << actual;
      EXPECT_THAT(actual, testing::HasSubstr(expected.substr(kError.size(), end - kError.size())));
      continue;
    }
    if (UpdateGolden()) {
      text = text.substr(0, expect) + actual;
      continue;
    }
    EXPECT_EQ(actual, expected);
  }
  if (UpdateGolden()) WriteCases(GetParam(), cases);
}

INSTANTIATE_TEST_SUITE_P(Passes, GoldenTest, testing::ValuesIn(GoldenFiles()),
                         [](const testing::TestParamInfo<std::string>& info) {
                           return std::filesystem::path(info.param).stem().string();
                         });

// A pass without a golden file is a pass nobody has shown to work.
TEST(GoldenTest, EveryPassHasAFile) {
  for (const Pass& pass : DefaultPipeline()) {
    std::string stem(pass.name);
    std::replace(stem.begin(), stem.end(), '-', '_');
    EXPECT_TRUE(std::filesystem::exists(StrCat(RENGA_SOURCE_DIR, "/tests/passes/", stem, ".ir")))
        << stem;
  }
}

}  // namespace
}  // namespace renga
