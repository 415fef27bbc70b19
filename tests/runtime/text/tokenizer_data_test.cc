// Reading vocabularies from GGUF metadata: defaults, corrections and what is refused.
#include "frontend/models/tokenizer_data.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <string>
#include <vector>

namespace renga {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A GGUF file of metadata alone.
class Metadata3 {
 public:
  Metadata3& String(const std::string& key, const std::string& value) {
    Key(key, 8);
    Text(value);
    return *this;
  }
  Metadata3& Uint(const std::string& key, uint32_t value) {
    Key(key, 4);
    Raw(value);
    return *this;
  }
  Metadata3& Bool(const std::string& key, bool value) {
    Key(key, 7);
    Raw(static_cast<uint8_t>(value));
    return *this;
  }
  Metadata3& Strings(const std::string& key, const std::vector<std::string>& values) {
    Key(key, 9);
    Raw(uint32_t{8});
    Raw(static_cast<uint64_t>(values.size()));
    for (const std::string& value : values) Text(value);
    return *this;
  }
  template <typename T>
  Metadata3& Numbers(const std::string& key, uint32_t type, const std::vector<T>& values) {
    Key(key, 9);
    Raw(type);
    Raw(static_cast<uint64_t>(values.size()));
    for (T value : values) Raw(value);
    return *this;
  }

  absl::StatusOr<TokenizerData> Read() const {
    const std::string path = ::testing::TempDir() + "/tokenizer_data_test.gguf";
    std::ofstream out(path, std::ios::binary);
    const uint32_t version = 3;
    const uint64_t tensors = 0;
    out << "GGUF" << View(version) << View(tensors) << View(count_) << bytes_;
    out.close();
    auto file = GgufFile::Open(path);
    EXPECT_TRUE(file.ok()) << file.status();
    return ReadTokenizer(*file);
  }

 private:
  template <typename T>
  static std::string View(const T& value) {
    return std::string(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  template <typename T>
  void Raw(T value) {
    bytes_ += View(value);
  }
  void Text(const std::string& text) {
    Raw(static_cast<uint64_t>(text.size()));
    bytes_ += text;
  }
  void Key(const std::string& key, uint32_t type) {
    ++count_;
    Text(key);
    Raw(type);
  }

  std::string bytes_;
  uint64_t count_ = 0;
};

Metadata3 Bpe(const std::vector<std::string>& tokens, const std::vector<std::string>& merges = {}) {
  Metadata3 file;
  file.String("tokenizer.ggml.model", "gpt2").Strings("tokenizer.ggml.tokens", tokens);
  file.Strings("tokenizer.ggml.merges", merges);
  return file;
}

void ExpectError(const Metadata3& file, absl::StatusCode code, const std::string& what) {
  auto data = file.Read();
  ASSERT_EQ(data.status().code(), code) << data.status();
  EXPECT_THAT(std::string(data.status().message()), HasSubstr(what));
}

TEST(ReadTokenizer, MergesBecomePairsOfIds) {
  auto data = Bpe({"a", "b", "ab", " ", "a b"}, {"a b", "  a", "ab a"}).Read();
  ASSERT_TRUE(data.ok()) << data.status();
  using Pair = std::pair<int32_t, int32_t>;
  EXPECT_THAT(data->merges, ElementsAre(Pair(0, 1), Pair(3, 0), Pair(2, 0)));
  EXPECT_EQ(data->token(2), "ab");
  EXPECT_FALSE(data->add_bos);
  EXPECT_EQ(data->bos, -1);
}

TEST(ReadTokenizer, MergesThatMakeNoSenseNameThemselves) {
  const auto code = absl::StatusCode::kInvalidArgument;
  ExpectError(Bpe({"a"}, {"a zz"}), code, "\"zz\" is not a token");
  ExpectError(Bpe({"a"}, {"a"}), code, "merge 0");
  ExpectError(Bpe({"a"}, {""}), code, "merge 0");
  ExpectError(Bpe({"a"}, {" "}), code, "merge 0");
}

TEST(ReadTokenizer, EndsOfGenerationByNameBecomeControl) {
  auto data = Bpe({"a", "<|im_end|>", "</s>", "<|end|>", "<fim_pad>", "<fim_prefix>"}).Read();
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_THAT(data->end_of_generation, ElementsAre(1, 2, 3, 4));
  EXPECT_EQ(data->eot, 1);
  EXPECT_EQ(data->types[2], TokenType::kControl);
  EXPECT_EQ(data->types[5], TokenType::kControl);
  EXPECT_EQ(data->types[0], TokenType::kNormal);
}

TEST(ReadTokenizer, HarmonysEndIsNoEnd) {
  auto data = Bpe({"<|return|>", "<|call|>", "<|end|>", "<|channel|>"}).Read();
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_THAT(data->end_of_generation, ElementsAre(0, 1));
  EXPECT_EQ(data->types[2], TokenType::kUserDefined);
  EXPECT_EQ(data->types[3], TokenType::kUserDefined);
}

TEST(ReadTokenizer, BosByNameOfThePreTokenizerUnlessTheFileSays) {
  auto data = Bpe({"a"}).String("tokenizer.ggml.pre", "llama-bpe").Read();
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_TRUE(data->add_bos);
  data = Bpe({"a"})
             .String("tokenizer.ggml.pre", "llama-bpe")
             .Bool("tokenizer.ggml.add_bos_token", false)
             .Read();
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_FALSE(data->add_bos);
}

TEST(ReadTokenizer, IdsAreChecked) {
  auto data = Bpe({"a", "b"})
                  .Uint("tokenizer.ggml.eos_token_id", 1)
                  .Uint("tokenizer.ggml.padding_token_id", 0xFFFFFFFF)
                  .Read();
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(data->eos, 1);
  EXPECT_EQ(data->pad, -1);
  ExpectError(Bpe({"a", "b"}).Uint("tokenizer.ggml.eos_token_id", 2),
              absl::StatusCode::kInvalidArgument, "tokenizer.ggml.eos_token_id");
}

TEST(ReadTokenizer, TablesAreChecked) {
  const auto code = absl::StatusCode::kInvalidArgument;
  const std::string types = "tokenizer.ggml.token_type";
  ExpectError(Bpe({"a"}).Numbers<int32_t>(types, 5, {1, 1}), code, types);
  ExpectError(Bpe({"a"}).Numbers<int32_t>(types, 5, {7}), code, types);
  ExpectError(Bpe({"a"}).Numbers<int32_t>(types, 5, {-1}), code, types);
  ExpectError(Bpe({}), code, "tokenizer.ggml.tokens");
  Metadata3 spm;
  spm.String("tokenizer.ggml.model", "llama").Strings("tokenizer.ggml.tokens", {"a"});
  ExpectError(spm, absl::StatusCode::kNotFound, "tokenizer.ggml.scores");
  spm.Numbers<float>("tokenizer.ggml.scores", 6, {1, 2});
  ExpectError(spm, code, "tokenizer.ggml.scores");
}

TEST(ReadTokenizer, NoVocabularyAndUnknownKinds) {
  ExpectError(Metadata3().String("general.name", "x"), absl::StatusCode::kNotFound,
              "no vocabulary");
  Metadata3 file;
  file.String("tokenizer.ggml.model", "bert").Strings("tokenizer.ggml.tokens", {"a"});
  ExpectError(file, absl::StatusCode::kUnimplemented, "\"bert\"");
}

}  // namespace
}  // namespace renga
