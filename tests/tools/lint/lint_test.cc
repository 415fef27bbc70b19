// The models of the repository have no finding that counts; checks of what no file with a graph can
// have; damaged files.
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "tests/support/real_model.h"
#include "tests/support/test_data.h"
#include "tests/tools/lint/lint_case.h"
#include "tools/lint/check.h"

namespace renga {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::StartsWith;

// What lint says and is not only unusual.
std::vector<std::string> Alarms(const std::string& path) {
  std::vector<std::string> lines = LintFile(path);
  std::erase_if(lines, [](const std::string& line) { return line.starts_with("maybe "); });
  return lines;
}

TEST(NoFalseAlarm, TinyModels) {
  int models = 0;
  for (const auto& entry : std::filesystem::directory_iterator(TestData("tiny"))) {
    if (entry.path().extension() != ".gguf") continue;
    ++models;
    EXPECT_THAT(Alarms(entry.path().string()), IsEmpty()) << entry.path();
  }
  EXPECT_GT(models, 20);
}

TEST(NoFalseAlarm, Stories) {
  const std::string path = TestData("stories260K.gguf");
  EXPECT_THAT(Alarms(path), IsEmpty());
  EXPECT_THAT(LintFile(path), ElementsAre(StartsWith("maybe duplicate-tensors output.weight: ")));
}

class RealModelsTest : public testing::TestWithParam<std::string> {};
TEST_P(RealModelsTest, HaveNoFinding) {
  if (!std::filesystem::exists(GetParam())) {
    GTEST_SKIP() << GetParam() << " is not there; tools/fetch-models gets it";
  }
  EXPECT_THAT(LintFile(GetParam()), IsEmpty());
}
INSTANTIATE_TEST_SUITE_P(NoFalseAlarm, RealModelsTest, testing::Values(SmolLm2(), QwenCoder()));

TEST(Checks, NamesAreUniqueAndFound) {
  for (const Check* check : AllChecks()) {
    EXPECT_EQ(FindCheck(check->name), check) << check->name;
    EXPECT_FALSE(check->about.empty()) << check->name;
  }
  EXPECT_EQ(FindCheck("soup"), nullptr);
}

// docs/lint.md describes every check in a row of its own.
TEST(Checks, AreDocumented) {
  std::ifstream file(RENGA_SOURCE_DIR "/docs/lint.md");
  const std::string text(std::istreambuf_iterator<char>(file), {});
  for (const Check* check : AllChecks()) {
    EXPECT_NE(text.find(StrCat("| `", check->name, "` |")), text.npos) << check->name;
  }
}

// Runs one check on a file and a model that may say other things than the file.
std::vector<std::string> RunCheck(std::string_view name, TinyModel& tiny, Model model) {
  const auto file = GgufFile::Open(tiny.Write());
  EXPECT_TRUE(file.ok()) << file.status();
  if (!file.ok()) return {};
  std::vector<Finding> findings = FindCheck(name)->run({*file, model, {}, FamiliesOf(*file)});
  for (Finding& finding : findings) finding.check = std::string(name);
  return LinesOf(findings);
}

TEST(UnusedBiases, ThatAnArchitectureLeavesOut) {
  TinyModel tiny;
  tiny.Fill();
  tiny.AddWeight("blk.1.attn_q.bias", {12});
  Model model;
  model.info.architecture = "llama";
  EXPECT_THAT(RunCheck("unused-biases", tiny, model), IsEmpty());
  model.ignored = {{"blk.1.attn_q.bias", "it is not needed"}, {"rope_factors_long.weight", "."}};
  EXPECT_THAT(RunCheck("unused-biases", tiny, model),
              ElementsAre("likely unused-biases blk.1.attn_q.bias: the file has this bias and the "
                          "graph does not use it (it is not needed)"));
}

TEST(MissingBiases, ThatTheArchitectureUsuallyHas) {
  TinyModel tiny;
  tiny.architecture = "qwen2";
  tiny.Fill();
  Model model;
  model.info.architecture = "qwen2";
  EXPECT_THAT(RunCheck("missing-biases", tiny, model), IsEmpty());
  for (const std::string layer : {"0", "1"}) tiny.Remove("blk." + layer + ".attn_k.bias");
  EXPECT_THAT(RunCheck("missing-biases", tiny, model),
              ElementsAre("likely missing-biases blk.*.attn_k.bias: no layer has this bias, which "
                          "models of qwen2 usually have"));
}

TEST(QuantisationMix, VectorsStayAsTheyAre) {
  TinyModel tiny;
  tiny.embedding = 32;
  tiny.Fill();
  GgufWriter::Tensor& norm = tiny.Tensor("blk.1.ffn_norm.weight");
  norm.type = static_cast<uint32_t>(DType::kQ8_0);
  norm.data.resize(34);
  EXPECT_THAT(RunCheck("quantisation-mix", tiny, {}),
              ElementsAre("maybe quantisation-mix blk.1.ffn_norm.weight: a vector of type q8_0"));
}

// Whatever the bytes say: findings or an error, and no crash.
TEST(DamagedFiles, EndInFindingsOrAnError) {
  TinyModel tiny;
  tiny.embedding = 64;
  tiny.heads = 4;
  tiny.head_dim = 16;
  tiny.Fill();
  SetText(tiny, "tokenizer.chat_template",
          "{% for m in messages %}{% if m %}{{ m['a'] }}{% endif %}{% endfor %}");
  const std::string bytes = tiny.writer.Bytes();
  const size_t header = tiny.writer.header_bytes();
  std::mt19937_64 random(20261126);
  const TempFolder folder;
  int linted = 0;
  for (int i = 0; i < 600; ++i) {
    std::string mutant = bytes;
    for (int change = 0; change < 3; ++change) {
      const size_t range = random() % 2 == 0 ? header : mutant.size();
      mutant[random() % range] = static_cast<char>(random() % 3 == 0 ? 0xff : random());
    }
    const auto file = GgufFile::Open(folder.Write(StrCat("mutant-", i), mutant));
    if (!file.ok()) continue;
    const auto model = BuildModel(*file, {.context = 64});
    if (!model.ok()) continue;
    const auto findings = Lint(*file, *model, {.threads = 1, .progress = {}});
    ASSERT_TRUE(findings.ok()) << findings.status();
    LinesOf(*findings);
    ++linted;
  }
  EXPECT_GT(linted, 50);
}

}  // namespace
}  // namespace renga
