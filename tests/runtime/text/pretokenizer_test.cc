#include "runtime/text/pretokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace renga {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

nlohmann::json Vectors() {
  std::ifstream in(RENGA_SOURCE_DIR "/tests/data/tokenizer/pretypes.json");
  return nlohmann::json::parse(in);
}

TEST(PreTokenizer, CutsEveryTextOfEveryFamilyAsRecorded) {
  const nlohmann::json vectors = Vectors();
  const auto texts = vectors["texts"].get<std::vector<std::string>>();
  int checked = 0;
  for (const auto& [name, family] : vectors["families"].items()) {
    const PreTokenizerFamily* entry = FindPreTokenizerFamily(name);
    ASSERT_NE(entry, nullptr) << name;
    auto splitter = PreTokenizer::CreateFamily(*entry);
    ASSERT_TRUE(splitter.ok()) << name << ": " << splitter.status();
    for (size_t i = 0; i < texts.size(); ++i) {
      auto pieces = (*splitter)->Split(texts[i]);
      ASSERT_TRUE(pieces.ok()) << name << ": " << pieces.status();
      const std::vector<std::string> got(pieces->begin(), pieces->end());
      EXPECT_EQ(got, family["pieces"][i].get<std::vector<std::string>>())
          << "family " << name << ", text " << i << ": " << texts[i];
      ++checked;
    }
  }
  EXPECT_EQ(checked, 31 * 86);
}

TEST(PreTokenizer, KnowsTheRecordedNames) {
  const nlohmann::json vectors = Vectors();
  EXPECT_EQ(PreTokenizerNames().size(), vectors["names"].size());
  for (const auto& [name, family] : vectors["names"].items()) {
    const PreTokenizerName* entry = FindPreTokenizerName(name);
    ASSERT_NE(entry, nullptr) << name;
    EXPECT_EQ(entry->family, family.get<std::string>()) << name;
  }
}

TEST(PreTokenizer, UnknownNameListsTheKnown) {
  auto result = PreTokenizer::Create("gpt-9");
  ASSERT_EQ(result.status().code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(result.status().message()), HasSubstr("\"gpt-9\""));
  EXPECT_THAT(std::string(result.status().message()), HasSubstr("llama-bpe"));
}

TEST(PreTokenizer, MissingNameIsDefault) {
  EXPECT_EQ(FindPreTokenizerName(""), FindPreTokenizerName("default"));
}

TEST(PreTokenizer, SurrogatesPassAndBrokenTextIsAnError) {
  auto splitter = PreTokenizer::Create("qwen2");
  ASSERT_TRUE(splitter.ok());
  EXPECT_THAT(*(*splitter)->Split("a\xED\xA0\x80"), ElementsAre("a", "\xED\xA0\x80"));
  EXPECT_EQ((*splitter)->Split("a\xFF").status().code(), absl::StatusCode::kInvalidArgument);
}

// Texts that make a careless pattern quadratic or deep; each must take milliseconds.
TEST(PreTokenizer, LongRunsAreLinear) {
  constexpr size_t kLength = 50'000;
  const std::string runs[] = {
      std::string(kLength, ' ') + "x", std::string(kLength, '7'), std::string(kLength, 'a'),
      std::string(kLength, 'A'),       std::string(kLength, '='), std::string(kLength, '\n') + "x",
      std::string(kLength, '\''),
  };
  for (const PreTokenizerFamily& family : PreTokenizerFamilies()) {
    auto splitter = PreTokenizer::CreateFamily(family);
    ASSERT_TRUE(splitter.ok());
    for (const std::string& text : runs) {
      auto pieces = (*splitter)->Split(text);
      ASSERT_TRUE(pieces.ok()) << family.name << ": " << pieces.status();
      std::string joined;
      for (std::string_view piece : *pieces) joined.append(piece);
      EXPECT_EQ(joined, text) << family.name;
    }
  }
}

}  // namespace
}  // namespace renga
