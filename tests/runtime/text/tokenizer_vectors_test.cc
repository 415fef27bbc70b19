// Every recorded text of the three models, encoded and decoded.
#include <absl/strings/escaping.h>
#include <gtest/gtest.h>

#include <cctype>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "frontend/gguf/gguf.h"
#include "frontend/models/tokenizer_data.h"
#include "runtime/text/stream_decoder.h"
#include "runtime/text/tokenizer.h"

namespace renga {
namespace {

struct Model {
  const char* name;  // tests/data/tokenizer/NAME.json
  const char* file;  // GGUF file
  bool bundled;      // in tests/data; else in the model cache
};

std::string PathOf(const Model& model) {
  if (model.bundled) return std::string(RENGA_SOURCE_DIR "/tests/data/") + model.file;
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  const std::string folder =
      cache != nullptr ? cache : std::string(home != nullptr ? home : "") + "/.cache";
  return folder + "/renga/models/" + model.file;
}

class TokenizerVectors : public ::testing::TestWithParam<Model> {
 protected:
  void SetUp() override {
    const std::string path = PathOf(GetParam());
    if (!std::filesystem::exists(path)) {
      ASSERT_FALSE(GetParam().bundled) << path << " is missing";
      std::cerr << "NOT TESTED: " << path << " is missing\n";
      GTEST_SKIP() << path << " is missing";
    }
    auto file = GgufFile::Open(path);
    ASSERT_TRUE(file.ok()) << file.status();
    const auto begin = std::chrono::steady_clock::now();
    auto data = ReadTokenizer(*file);
    ASSERT_TRUE(data.ok()) << data.status();
    const auto middle = std::chrono::steady_clock::now();
    auto tokenizer = Tokenizer::Create(*data);
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    const auto end = std::chrono::steady_clock::now();
    using Milliseconds = std::chrono::duration<double, std::milli>;
    RecordProperty("read_ms", std::to_string(Milliseconds(middle - begin).count()));
    RecordProperty("create_ms", std::to_string(Milliseconds(end - middle).count()));
    data_ = *std::move(data);
    tokenizer_ = *std::move(tokenizer);
    std::ifstream in(std::string(RENGA_SOURCE_DIR "/tests/data/tokenizer/") + GetParam().name +
                     ".json");
    vectors_ = nlohmann::json::parse(in);
  }

  static std::string Bytes(const nlohmann::json& object, const std::string& key) {
    if (object.contains(key)) return object[key].get<std::string>();
    std::string bytes;
    EXPECT_TRUE(absl::Base64Unescape(object.at(key + "_b64").get<std::string>(), &bytes));
    return bytes;
  }

  TokenizerData data_;
  std::unique_ptr<Tokenizer> tokenizer_;
  nlohmann::json vectors_;
};

TEST_P(TokenizerVectors, FactsOfTheVocabulary) {
  const nlohmann::json& facts = vectors_["tokenizer"];
  EXPECT_EQ(data_.model, facts["tokenizer.ggml.model"].get<std::string>());
  EXPECT_EQ(data_.pre, facts["tokenizer.ggml.pre"].get<std::string>());
  EXPECT_EQ(tokenizer_->size(), facts["n_tokens"].get<int32_t>());
  EXPECT_EQ(data_.bos, facts["bos"].get<int32_t>());
  EXPECT_EQ(data_.eos, facts["eos"].get<int32_t>());
  EXPECT_EQ(data_.add_bos, facts["add_bos"].get<bool>());
  EXPECT_EQ(data_.add_eos, facts["add_eos"].get<bool>());
  EXPECT_EQ(data_.end_of_generation, facts["eog"].get<std::vector<int32_t>>());
  for (int32_t id : data_.end_of_generation) EXPECT_TRUE(tokenizer_->IsEndOfGeneration(id));
  EXPECT_FALSE(tokenizer_->IsEndOfGeneration(facts["nl"].get<int32_t>()));
  // Which of several EOT tokens is named is nobody's promise, but it ends generations.
  if (facts["eot"].get<int32_t>() >= 0) {
    EXPECT_TRUE(tokenizer_->IsEndOfGeneration(data_.eot));
  } else {
    EXPECT_EQ(data_.eot, -1);
  }
}

TEST_P(TokenizerVectors, EncodesAndDecodesEveryCase) {
  int checked = 0;
  for (const nlohmann::json& test : vectors_["cases"]) {
    const std::string text = Bytes(test, "text");
    SCOPED_TRACE(text.substr(0, 200));
    const bool special = test["special"].get<bool>();
    auto ids = tokenizer_->Encode(text, {.parse_special = special, .add_special = false});
    ASSERT_TRUE(ids.ok()) << ids.status();
    ++checked;
    if (test.contains("error")) continue;  // there is no recorded answer: any will do
    const auto expected = test["ids"].get<std::vector<int32_t>>();
    EXPECT_EQ(*ids, expected);
    auto added = tokenizer_->Encode(text, {.parse_special = special, .add_special = true});
    ASSERT_TRUE(added.ok()) << added.status();
    EXPECT_EQ(*added, test.contains("ids_added") ? test["ids_added"].get<std::vector<int32_t>>()
                                                 : expected);
    const std::string decoded = Bytes(test, "decoded");
    EXPECT_EQ(*tokenizer_->Decode(expected), decoded);
    EXPECT_EQ(*tokenizer_->Decode(expected, {.show_special = false}),
              test.contains("decoded_plain") ? test["decoded_plain"].get<std::string>() : decoded);
    std::string pieces;
    for (int32_t id : expected) pieces += tokenizer_->TokenPiece(id, /*show_special=*/true);
    const bool own = test.contains("pieces") || test.contains("pieces_b64");
    EXPECT_EQ(pieces, own ? Bytes(test, "pieces") : decoded);
    if (test.contains("text") && (test.contains("pieces") || !own)) {  // valid UTF-8
      StreamDecoder stream(*tokenizer_, {.show_special = true});
      std::string streamed;
      for (int32_t id : expected) streamed += stream.Append(id);
      EXPECT_EQ(streamed + stream.Flush(), pieces);
    }
  }
  EXPECT_GT(checked, 85);
}

std::string Repeat(std::string_view text, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out.append(text);
  return out;
}

// A word without end is one merging problem: quadratic work would take minutes.
TEST_P(TokenizerVectors, LongWordsAreNotQuadratic) {
  for (const std::string& text :
       {Repeat("a", 100'000), Repeat("\xE4\xB8\xAD", 30'000), Repeat("antidisestablish", 6'000),
        Repeat(" ", 100'000) + "x", Repeat("<", 50'000), Repeat("\xFF", 50'000)}) {
    const auto begin = std::chrono::steady_clock::now();
    auto ids = tokenizer_->Encode(text, {.add_special = false});
    ASSERT_TRUE(ids.ok()) << ids.status();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    EXPECT_LT(took.count(), 20) << text.substr(0, 20);
    if (text[0] == '\xFF') continue;  // byte-level BPE repairs it
    EXPECT_TRUE(*tokenizer_->Decode(*ids) == text) << text.substr(0, 20);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Models, TokenizerVectors,
    ::testing::Values(Model{"stories260K", "stories260K.gguf", true},
                      Model{"smollm2-135m", "SmolLM2-135M-Instruct.Q4_1.gguf", false},
                      Model{"qwen2.5-coder-0.5b", "Qwen2.5-Coder-0.5B-Instruct.Q4_K_M.gguf", false},
                      Model{"gemma3-270m", "gemma-3-270m.Q4_K_M.gguf", false}),
    [](const ::testing::TestParamInfo<Model>& info) {
      std::string name;
      for (const char* c = info.param.name; *c != 0; ++c) name += std::isalnum(*c) ? *c : '_';
      return name;
    });

}  // namespace
}  // namespace renga
