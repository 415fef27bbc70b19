// renga lint: text, JSON, exit codes, plans.
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "tests/tools/lint/lint_case.h"
#include "tests/tools/process.h"

namespace renga {
namespace {

using Json = nlohmann::json;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

std::set<std::string> Keys(const Json& json) {
  std::set<std::string> keys;
  for (const auto& [key, value] : json.items()) keys.insert(key);
  return keys;
}

TEST(LintVerb, IsListedWithItsFlags) {
  EXPECT_THAT(Renga({"--help"}).out, HasSubstr("  lint "));
  const std::string help = Renga({"lint", "--help"}).out;
  EXPECT_THAT(help, HasSubstr("--strict"));
  EXPECT_THAT(help, HasSubstr("Examples:\n  renga lint "));
}

TEST(LintVerb, NothingToSayIsZero) {
  TinyModel tiny;
  tiny.Fill();
  const ProcessResult result = Renga({"lint", tiny.Write(), "--strict"});
  EXPECT_EQ(result.exit_code, 0) << result.Describe();
  EXPECT_THAT(result.out, StartsWith("nothing suspicious: "));
  EXPECT_EQ(result.err, "");
}

TEST(LintVerb, UnusualIsOneOnlyWithStrict) {
  const ProcessResult result = Renga({"lint", StoryModel()});
  EXPECT_EQ(result.exit_code, 0) << result.Describe();
  EXPECT_THAT(result.out, StartsWith("maybe  duplicate-tensors  output.weight  has the same"));
  EXPECT_THAT(result.out, HasSubstr("\n0 certain, 0 likely, 1 maybe: "));
  EXPECT_EQ(Renga({"lint", StoryModel(), "--strict"}).exit_code, 1);
}

TEST(LintVerb, FindingsAreOne) {
  TinyModel tiny;
  tiny.Fill();
  tiny.SetF32("rope.scaling.factor", 0.25f);
  const std::string zeros(tiny.Tensor("blk.0.attn_v.weight").data.size(), '\0');
  tiny.Tensor("blk.0.attn_v.weight").data = zeros;
  tiny.Tensor("blk.1.attn_v.weight").data = zeros;
  const std::string path = tiny.Write();
  const ProcessResult text = Renga({"lint", path});
  EXPECT_EQ(text.exit_code, 1) << text.Describe();
  EXPECT_EQ(text.err, "");
  EXPECT_THAT(text.out, StartsWith("certain  zero-weights  blk.0.attn_v.weight  all 48 values are "
                                   "zero\n    also    1 more like it, all in layers 0-1\n"));
  EXPECT_THAT(text.out, HasSubstr("\nlikely  rope-settings  llama.rope.scaling.factor  is 0.25"));
  EXPECT_THAT(text.out, HasSubstr("\n2 certain, 1 likely, 0 maybe: "));

  const ProcessResult result = Renga({"lint", path, "--json"});
  EXPECT_EQ(result.exit_code, 1) << result.Describe();
  EXPECT_THAT(result.out, EndsWith("}\n"));
  const Json json = Json::parse(result.out, nullptr, false);
  ASSERT_TRUE(json.is_object()) << result.out;
  EXPECT_THAT(Keys(json),
              ElementsAre("bytes", "checks", "counts", "findings", "model", "ok", "tensors"));
  EXPECT_EQ(json["ok"], false);
  EXPECT_EQ(json["model"], path);
  EXPECT_EQ(json["counts"], Json({{"certain", 2}, {"likely", 1}, {"maybe", 0}}));
  ASSERT_EQ(json["findings"].size(), 3u);
  const Json& finding = json["findings"][1];
  EXPECT_THAT(Keys(finding),
              ElementsAre("advice", "check", "layer", "meaning", "sureness", "what", "where"));
  EXPECT_EQ(finding["check"], "zero-weights");
  EXPECT_EQ(finding["sureness"], "certain");
  EXPECT_EQ(finding["where"], "blk.1.attn_v.weight");
  EXPECT_EQ(finding["layer"], 1);
  EXPECT_EQ(finding["what"], "all 48 values are zero");
  EXPECT_EQ(json["findings"][2]["layer"], nullptr);
}

TEST(LintVerb, WhatCannotBeLoadedIsAnError) {
  TinyModel tiny;
  tiny.Fill();
  tiny.AddWeight("blk.0.surprise\x1b[31m.bias", {4});
  const ProcessResult left_over = Renga({"lint", tiny.Write()});
  EXPECT_TRUE(left_over.IsCleanError(2)) << left_over.Describe();
  EXPECT_THAT(left_over.err, HasSubstr("1 left over: blk.0.surprise\\x1b[31m.bias"));
  const TempFolder folder;
  for (const std::string& path :
       {folder.File("none.gguf"), folder.Write("text.gguf", "hello"), folder.path()}) {
    const ProcessResult result = Renga({"lint", path});
    EXPECT_TRUE(result.IsCleanError(2)) << result.Describe();
    EXPECT_THAT(result.err, HasSubstr(path));
  }
  EXPECT_TRUE(Renga({"lint", StoryModel(), "-t", "-1"}).IsCleanError(2));
  EXPECT_TRUE(Renga({"lint"}).IsCleanError(2));
}

TEST(LintVerb, NamesFromTheFileDoNotReachTheTerminal) {
  TinyModel tiny;
  tiny.Fill();
  tiny.writer.AddU32("qwen2.\x1b[31m\n", 2);
  const ProcessResult result = Renga({"lint", tiny.Write()});
  EXPECT_EQ(result.exit_code, 1) << result.Describe();
  EXPECT_THAT(result.out, HasSubstr("  qwen2.\\x1b[31m\\n  "));
  EXPECT_THAT(result.out, Not(HasSubstr("\x1b")));
  EXPECT_TRUE(Json::accept(Renga({"lint", tiny.Write(), "--json"}).out));
}

TEST(LintVerb, OfAPlanItsGguf) {
  TinyModel tiny;
  tiny.Fill();
  tiny.SetF32("logit_scale", -1);
  const TempFolder folder;
  const std::string gguf = folder.Write("m.gguf", tiny.writer.Bytes());
  const std::string plan = folder.File("m.plan");
  ASSERT_EQ(Renga({"compile", gguf, "-o", plan}).exit_code, 0);
  EXPECT_EQ(Renga({"lint", plan}).exit_code, 1);
  EXPECT_THAT(Renga({"lint", plan}).out, HasSubstr("multipliers  llama.logit_scale"));

  std::filesystem::create_directory(folder.File("moved"));
  const std::string moved = folder.File("moved/m.plan");
  std::filesystem::rename(plan, moved);
  std::filesystem::rename(gguf, folder.File("moved/m.gguf"));
  EXPECT_THAT(Renga({"lint", moved}).out, HasSubstr("multipliers  llama.logit_scale"));

  std::filesystem::remove(folder.File("moved/m.gguf"));
  const ProcessResult gone = Renga({"lint", moved});
  EXPECT_TRUE(gone.IsCleanError(2)) << gone.Describe();
  EXPECT_THAT(gone.err, HasSubstr(moved + ": the plan's GGUF " + gguf + " is neither there nor"));
}

}  // namespace
}  // namespace renga
