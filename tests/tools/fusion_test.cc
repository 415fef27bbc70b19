// What compile and dump say of the fusions, and the names of passes.
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/strings.h"
#include "passes/core/pipeline.h"
#include "tests/tools/process.h"
#include "tools/fusion_summary.h"

namespace renga {
namespace {

using Args = std::vector<std::string>;
using Json = nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

// Two experts, whose projections no fusion takes.
std::string Mixture() { return RENGA_SOURCE_DIR "/tests/data/tiny/llama-moe.gguf"; }

std::string Output(const Args& args) {
  const ProcessResult result = Renga(args);
  EXPECT_EQ(result.exit_code, 0) << result.Describe();
  return result.out;
}

Json JsonOutput(const Args& args) {
  Json json = Json::parse(Output(args), nullptr, /*allow_exceptions=*/false);
  EXPECT_TRUE(json.is_object());
  return json.is_object() ? json : Json::object();
}

plan::LedgerEntry Entry(std::string pass, std::string node, bool matched) {
  return {std::move(pass), std::move(node), -1,
          matched ? plan::LedgerResult::kMatched : plan::LedgerResult::kRejected, "why"};
}

TEST(FusionSummaryTest, CountsWhatPassesThatFuseDid) {
  const std::vector<plan::PassRecord> passes = {
      {"rows-asked", true}, {"fuse-qkv-rope", true}, {"fuse-norm", false}, {"pack", true}};
  const std::vector<plan::LedgerEntry> ledger = {
      Entry("rows-asked", "out", true),      Entry("rows-asked", "x", false),
      Entry("fuse-qkv-rope", "0.qkv", true), Entry("fuse-qkv-rope", "1.qkv", false),
      Entry("fuse-qkv-rope", "2.qkv", true), Entry("pack", "w", false),
  };
  const FusionSummary summary = SummarizeFusion(passes, ledger);
  EXPECT_EQ(FusionText(summary), "qkv_rope 2/3  norm 0/0       1 rejected");
  ASSERT_EQ(summary.rejected.size(), 1u);
  EXPECT_EQ(summary.rejected[0]->node, "1.qkv");
  EXPECT_EQ(FusionText(SummarizeFusion({{"pack", true}}, ledger)), "none       0 rejected");
}

TEST(FusionSummaryTest, NamesWhatWasLeftOut) {
  std::vector<plan::PassRecord> passes;
  for (const Pass& pass : DefaultPipeline()) passes.push_back({std::string(pass.name), true});
  EXPECT_TRUE(FusionsLeftOut(passes).empty());
  std::erase_if(passes, [](const auto& pass) {
    return pass.name == "fuse-attention" || pass.name == "rows-asked";
  });
  EXPECT_THAT(FusionsLeftOut(passes), ElementsAre("fuse-attention"));
}

TEST(Fusion, CompileSaysWhatWasFused) {
  const TempFolder folder;
  const std::string plan = folder.File("m.plan");
  const std::string text = Output({"compile", StoryModel(), "-o", plan});
  EXPECT_THAT(text, HasSubstr("\nfused  "));
  EXPECT_THAT(text, HasSubstr("  attention 5/5  "));
  const Json json = JsonOutput({"compile", StoryModel(), "-o", plan, "--json"});
  size_t fusions = 0;
  for (const Pass& pass : DefaultPipeline()) fusions += pass.name.starts_with("fuse-") ? 1 : 0;
  EXPECT_EQ(json["fusion"].size(), fusions);
  EXPECT_EQ(json["fusion"]["attention"], Json({{"matched", 5}, {"candidates", 5}}));
  // The same numbers as the ledger has.
  const Json entries = JsonOutput({"dump", plan, "--stage", "ledger", "--json"})["entries"];
  int matched = 0, rejected = 0;
  for (const Json& entry : entries) {
    if (entry["pass"] == "fuse-attention") matched += entry["result"] == "matched" ? 1 : 0;
    const bool fuses = entry["pass"].get<std::string>().starts_with("fuse-");
    rejected += fuses && entry["result"] == "rejected" ? 1 : 0;
  }
  EXPECT_EQ(matched, 5);
  EXPECT_EQ(json["rejected"], rejected);
  const std::string counts = text.substr(text.find("attention 5/5"));
  EXPECT_THAT(Output({"dump", plan, "--stage", "ledger"}),
              HasSubstr(counts.substr(0, counts.find('\n'))));
}

TEST(Fusion, RequiredAndThere) {
  const TempFolder folder;
  const std::string plan = folder.File("m.plan");
  EXPECT_THAT(Output({"compile", StoryModel(), "-o", plan, "--require-fusion"}),
              HasSubstr(" 0 rejected\n"));
  EXPECT_TRUE(std::filesystem::exists(plan));
}

TEST(Fusion, RequiredAndRejected) {
  const TempFolder folder;
  const std::string plan = folder.File("m.plan");
  const Json entries = JsonOutput({"dump", Mixture(), "--stage", "ledger", "--json"})["entries"];
  const ProcessResult result = Renga({"compile", Mixture(), "-o", plan, "--require-fusion"});
  EXPECT_EQ(result.exit_code, 1) << result.Describe();
  EXPECT_EQ(result.out, "");
  EXPECT_FALSE(std::filesystem::exists(plan));
  int rejected = 0;
  for (const Json& entry : entries) {
    if (entry["result"] != "rejected" || !entry["pass"].get<std::string>().starts_with("fuse-")) {
      continue;
    }
    ++rejected;
    for (const char* field : {"pass", "node", "reason"}) {
      EXPECT_THAT(result.err, HasSubstr(entry[field].get<std::string>()));
    }
  }
  EXPECT_GT(rejected, 0);
  EXPECT_THAT(result.err, HasSubstr(StrCat(rejected, " rejected, 0 passes left out")));
}

TEST(Fusion, RequiredAndLeftOut) {
  const TempFolder folder;
  const std::string plan = folder.File("m.plan");
  for (const Args& flags : {Args{"--disable-pass", "fuse-gate-up"}, Args{"--passes", ""}}) {
    Args args = {"compile", StoryModel(), "-o", plan, "--require-fusion"};
    args.insert(args.end(), flags.begin(), flags.end());
    const ProcessResult result = Renga(args);
    EXPECT_EQ(result.exit_code, 1) << result.Describe();
    EXPECT_THAT(result.err, HasSubstr("fuse-gate-up"));
    EXPECT_THAT(result.err, HasSubstr("left out by --passes or --disable-pass"));
    EXPECT_THAT(result.err, Not(HasSubstr("rows-asked")));
    EXPECT_FALSE(std::filesystem::exists(plan));
  }
  // What is not a fusion may be left out.
  EXPECT_EQ(Renga({"compile", StoryModel(), "-o", plan, "--require-fusion", "--disable-pass",
                   "remove-dead-nodes"})
                .exit_code,
            0);
}

TEST(Fusion, LedgerLines) {
  const Args ledger = {"dump", Mixture(), "--stage", "ledger"};
  const auto lines = [&](Args more) {
    more.insert(more.begin(), ledger.begin(), ledger.end());
    const std::string text = Output(more);
    return text.substr(0, text.find("choices\n"));
  };
  const std::string text = lines({"--layer", "1", "--node", "1.mix"});
  EXPECT_THAT(text, testing::MatchesRegex("1\\.mix  matched  fuse-attention  [^\n]+\n"
                                          "1 entry: .*attention 1/1.* 0 rejected\n"));
  for (const char* layer : {"0", "1"}) {
    const std::string of_layer = lines({"--layer", layer});
    EXPECT_THAT(of_layer, HasSubstr(StrCat("\n", layer, ".")));
    EXPECT_THAT(of_layer, HasSubstr("  rejected  "));
  }
  // The results stand in one column.
  std::vector<std::string> all = absl::StrSplit(lines({}), '\n', absl::SkipEmpty());
  EXPECT_THAT(all.back(), HasSubstr(" entries: "));
  all.pop_back();
  const auto column = [](const std::string& line) {
    return std::min(line.find("  matched  "), line.find("  rejected  "));
  };
  // Names before it differ in length, and are filled up.
  const auto start = [&](const std::string& line) {
    return line.find_first_not_of(' ', line.find(' '));
  };
  for (const std::string& line : all) {
    EXPECT_LT(column(line), line.size()) << line;
    EXPECT_EQ(start(line), start(all[0])) << line;
  }
}

TEST(PassNames, UnderscoresAreDashes) {
  const Args dump = {"dump", StoryModel(), "--layer", "3", "--after"};
  const auto after = [&](std::string pass) {
    Args args = dump;
    args.push_back(std::move(pass));
    return Output(args);
  };
  EXPECT_EQ(after("fuse_attention"), after("fuse-attention"));
  EXPECT_THAT(after("fuse_attention"), HasSubstr(" = attention("));
  EXPECT_EQ(Output({"dump", StoryModel(), "--stage", "plan", "--disable-pass", "fuse_gate_up"}),
            Output({"dump", StoryModel(), "--stage", "plan", "--disable-pass", "fuse-gate-up"}));
  const Json passes = JsonOutput({"dump", StoryModel(), "--stage", "passes", "--passes",
                                  "rows_asked,fuse-attention", "--json"})["passes"];
  ASSERT_EQ(passes.size(), 2u);
  EXPECT_EQ(passes[1]["name"], "fuse-attention");
  // Of a plan too.
  const TempFolder folder;
  const std::string plan = folder.File("m.plan"), last(DefaultPipeline().back().name);
  Output({"compile", StoryModel(), "-o", plan});
  std::string underscores = last;
  std::replace(underscores.begin(), underscores.end(), '-', '_');
  EXPECT_EQ(Output({"dump", plan, "--after", underscores}), Output({"dump", plan}));
}

TEST(PassNames, UnknownOnesListTheNearestFirst) {
  const auto error = [](const Args& args) {
    const ProcessResult result = Renga(args);
    EXPECT_TRUE(result.IsCleanError(2)) << result.Describe();
    return result.err;
  };
  EXPECT_THAT(error({"dump", StoryModel(), "--after", "fuse_atention"}),
              StartsWith("error: --after: expected one of fuse-attention, "));
  EXPECT_THAT(error({"dump", StoryModel(), "--after", "front"}),
              HasSubstr("expected one of frontend, "));
  EXPECT_THAT(error({"run", StoryModel(), "-p", "a", "--disable-pass", "row_asked"}),
              StartsWith("error: --disable-pass: expected one of rows-asked, "));
  const std::string all = error({"compile", StoryModel(), "-o", "/dev/null/x", "--passes", "gate"});
  for (const Pass& pass : DefaultPipeline()) EXPECT_THAT(all, HasSubstr(std::string(pass.name)));
  EXPECT_THAT(error({"dump", StoryModel(), "--after", "fuse-attention", "--disable-pass",
                     "fuse-attention"}),
              HasSubstr("fuse-attention is left out by"));
}

// Logits are computed for the rows asked for, and no more may be asked for than the plan has room.
TEST(MaxRows, BoundsTheLogits) {
  const auto rows = [](Args more) {
    more.insert(more.begin(), {"dump", StoryModel(), "--stage", "plan", "--json"});
    const Json plan = JsonOutput(more);
    for (const Json& symbol : plan["symbols"]) {
      if (symbol["name"] == "R") return symbol["max"].get<int>();
    }
    return -1;
  };
  EXPECT_EQ(rows({}), 16);
  EXPECT_EQ(rows({"--max-step", "4"}), 4);
  EXPECT_EQ(rows({"--max-seqs", "20"}), 20);
  EXPECT_EQ(rows({"--max-rows", "100"}), 100);
  EXPECT_EQ(rows({"--max-rows", "1"}), 1);
  for (const char* wrong : {"0", "129", "-1"}) {
    const ProcessResult result = Renga({"run", StoryModel(), "-p", "a", "--max-rows", wrong});
    EXPECT_TRUE(result.IsCleanError(2)) << result.Describe();
    EXPECT_THAT(result.err, HasSubstr("--max-rows: expected 1..128"));
  }
}

TEST(MaxRows, PromptLogitsAreTheSame) {
  const TempFolder cache;
  std::string text;
  for (int i = 0; i < 30; ++i) text += "Once upon a time there was a cat. ";
  const auto top = [&](Args more) {
    more.insert(more.begin(),
                {"run", StoryModel(), "-p", text, "-n", "0", "--logits", "3", "--json"});
    const ProcessResult result = Renga(more, {.cache = cache.path()});  // its key has the rows
    EXPECT_EQ(result.exit_code, 0) << result.Describe();
    return Json::parse(result.out, nullptr, false)["prompt_top"];
  };
  const Json all = top({"--max-rows", "128"});
  ASSERT_GT(all.size(), 200u);
  EXPECT_EQ(top({}), all);
  EXPECT_EQ(top({"--max-rows", "1"}), all);
  EXPECT_EQ(top({"--max-step", "7"}), all);
}

}  // namespace
}  // namespace renga
