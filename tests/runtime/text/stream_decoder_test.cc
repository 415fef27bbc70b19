#include "runtime/text/stream_decoder.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <memory>
#include <string>

namespace renga {
namespace {

// Token n is the byte n; 256 is a control token, 257 " a".
std::unique_ptr<Tokenizer> Bytes() {
  TokenizerData data;
  data.model = "llama";
  data.add_space_prefix = true;
  const auto add = [&data](const std::string& text, TokenType type) {
    data.offsets.push_back(static_cast<uint32_t>(data.text.size()));
    data.text += text;
    data.types.push_back(type);
    data.scores.push_back(0);
  };
  for (int byte = 0; byte < 256; ++byte) {
    char text[8];
    std::snprintf(text, sizeof(text), "<0x%02X>", byte);
    add(text, TokenType::kByte);
  }
  add("<s>", TokenType::kControl);
  add("\xE2\x96\x81"
      "a",
      TokenType::kNormal);
  data.offsets.push_back(static_cast<uint32_t>(data.text.size()));
  auto tokenizer = Tokenizer::Create(data);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return *std::move(tokenizer);
}

// What is printed for each byte, "|" between them, and at the end.
std::string Stream(const std::string& bytes) {
  auto tokenizer = Bytes();
  StreamDecoder stream(*tokenizer);
  std::string out;
  for (char c : bytes) out += stream.Append(static_cast<unsigned char>(c)) + "|";
  return out + stream.Flush();
}

TEST(StreamDecoder, NeverSplitsACharacter) {
  EXPECT_EQ(Stream("a\xC3\xA9z"), "a||\xC3\xA9|z|");
  EXPECT_EQ(Stream("\xE4\xB8\xAD"), "||\xE4\xB8\xAD|");
  EXPECT_EQ(Stream("\xF0\x9F\x99\x82!"), "|||\xF0\x9F\x99\x82|!|");
  EXPECT_EQ(Stream(std::string("\0x", 2)), std::string("\0|x|", 4));
}

TEST(StreamDecoder, BrokenBytesBecomeReplacementCharacters) {
  const std::string r = "\xEF\xBF\xBD";
  EXPECT_EQ(Stream("\xFF"
                   "a"),
            r + "|a|");
  EXPECT_EQ(Stream("\xE4\xB8 "), "||" + r + " |");   // cut off: one for what was there
  EXPECT_EQ(Stream("\xE4\xB8"), "||" + r);           // at the end
  EXPECT_EQ(Stream("\xC0\xAF"), r + "|" + r + "|");  // overlong
  EXPECT_EQ(Stream("\xED\xA0\x80"), "|" + r + r + "|" + r + "|");                // surrogate
  EXPECT_EQ(Stream("\xF4\x90\x80\x80"), "|" + r + r + "|" + r + "|" + r + "|");  // past U+10FFFF
  EXPECT_EQ(Stream("\xC3\xC3\xA9"), "|" + r + "|\xC3\xA9|");
}

TEST(StreamDecoder, HiddenTokensDoNotDisturb) {
  auto tokenizer = Bytes();
  StreamDecoder stream(*tokenizer);
  EXPECT_EQ(stream.Append(0xC3), "");
  EXPECT_EQ(stream.Append(256), "");
  EXPECT_EQ(stream.Append(0xA9), "\xC3\xA9");
  EXPECT_EQ(stream.Append(1 << 20), "");
  StreamDecoder shown(*tokenizer, {.show_special = true});
  EXPECT_EQ(shown.Append(256), "<s>");
}

TEST(StreamDecoder, LeadingSpaceGoesOnlyOnRequestAndOnce) {
  auto tokenizer = Bytes();
  StreamDecoder continuation(*tokenizer);
  EXPECT_EQ(continuation.Append(257), " a");
  StreamDecoder text(*tokenizer, {.strip_leading_space = true});
  EXPECT_EQ(text.Append(257), "a");
  EXPECT_EQ(text.Append(257), " a");
}

}  // namespace
}  // namespace renga
