// Packed and embedded weights from the outside: same ids with and without, plans that need no GGUF,
// layouts and choices in dumps.
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/tools/process.h"

namespace renga {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using testing::HasSubstr;

// Of every packed type one, and a mix of them.
const char* const kModels[] = {"qwen2-Q4_0",  "qwen2-Q4_1",   "qwen2-Q5_0", "qwen2-Q5_1",
                               "qwen2-Q8_0",  "llama-Q4_K",   "llama-Q5_K", "qwen2-IQ4_NL",
                               "qwen2-MXFP4", "llama-Q4_K_M", "llama-tied"};

class PackedWeightsVerbTest : public testing::Test {
 protected:
  std::string File(const std::string& name) const { return folder_.File(name); }

  static std::string Output(const std::vector<std::string>& args) {
    const ProcessResult result = Renga(args);
    EXPECT_EQ(result.exit_code, 0) << result.Describe();
    return result.out;
  }

  static std::string Ids(const std::string& plan, const std::string& device) {
    const Json json = Json::parse(Output({"run", plan, "--ids", "5,9,17,4,30", "-n", "12", "--temp",
                                          "0", "--ignore-eos", "--device", device, "--json"}),
                                  nullptr, /*allow_exceptions=*/false);
    return json.is_object() ? json["ids"].dump() : "";
  }

  TempFolder folder_;
};

TEST_F(PackedWeightsVerbTest, SameIdsPackedEmbeddedAndAsInTheFile) {
  for (const std::string name : kModels) {
    SCOPED_TRACE(name);
    const std::string model = File("model.gguf");
    fs::copy_file(std::string(RENGA_SOURCE_DIR "/tests/data/tiny/") + name + ".gguf", model,
                  fs::copy_options::overwrite_existing);
    Output({"compile", model, "-o", File("packed.plan")});
    Output({"compile", model, "-o", File("plain.plan"), "--disable-pass", "pack-weights"});
    Output({"compile", model, "-o", File("embedded.plan"), "--embed-weights"});
    const std::string plain = Ids(File("plain.plan"), "cpu");
    EXPECT_NE(plain, "");
    EXPECT_EQ(Ids(File("packed.plan"), "cpu"), plain);
    EXPECT_EQ(Ids(File("packed.plan"), "reference"), plain);
    fs::remove(model);
    EXPECT_EQ(Ids(File("embedded.plan"), "cpu"), plain);
    EXPECT_EQ(Ids(File("embedded.plan"), "reference"), plain);
    EXPECT_NE(Renga({"run", File("packed.plan"), "--ids", "5", "-n", "1"}).exit_code, 0);
  }
}

TEST_F(PackedWeightsVerbTest, DumpsShowLayoutsAndChoices) {
  const std::string model = RENGA_SOURCE_DIR "/tests/data/tiny/llama-Q4_K_M.gguf";
  Output({"compile", model, "-o", File("a.plan"), "--embed-weights"});
  const Json ledger = Json::parse(Output({"dump", File("a.plan"), "--stage", "ledger", "--json"}));
  ASSERT_FALSE(ledger["choices"].empty());
  int packed = 0;
  for (const Json& choice : ledger["choices"]) {
    if (choice["what"] != "layout") continue;
    EXPECT_EQ(choice["considered"], Json({"file", "rows8"}));
    EXPECT_NE(choice["reason"], "");
    packed += choice["chosen"] == "rows8";
  }
  EXPECT_GT(packed, 0);
  EXPECT_THAT(Output({"dump", model, "--stage", "ledger"}), HasSubstr(" x layout: rows8 of file"));

  const Json weights =
      Json::parse(Output({"dump", File("a.plan"), "--stage", "weights", "--json"}));
  int rows8 = 0;
  uint64_t stored = 0;
  for (const Json& weight : weights["weights"]) {
    rows8 += weight["layout"] == "rows8";
    stored += weight["stored_bytes"].get<uint64_t>();
    EXPECT_TRUE(weight["embedded"].get<bool>());
  }
  EXPECT_EQ(rows8, packed);
  const Json memory = Json::parse(Output({"dump", File("a.plan"), "--stage", "memory", "--json"}));
  EXPECT_EQ(memory["weights"].get<uint64_t>(), stored);
}

}  // namespace
}  // namespace renga
