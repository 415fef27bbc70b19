#include "ir/base/token_index.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace renga {
namespace {

TEST(TokenIndex, FindsTheLastOfEqualTokensAndNoEmptyOne) {
  const std::string text = "ababb";
  const std::vector<uint32_t> offsets = {0, 2, 2, 4, 5};  // "ab", "", "ab", "b"
  const TokenIndex index(text, offsets);
  EXPECT_EQ(index.Find("ab"), 2);
  EXPECT_EQ(index.Find("b"), 3);
  EXPECT_EQ(index.Find(""), -1);
  EXPECT_EQ(index.Find("aba"), -1);
}

TEST(TokenIndex, NoTokens) {
  EXPECT_EQ(TokenIndex().Find("a"), -1);
  EXPECT_EQ(TokenIndex("", {}).Find("a"), -1);
}

TEST(TokenIndex, ManyTokens) {
  std::string text;
  std::vector<uint32_t> offsets = {0};
  for (int i = 0; i < 10'000; ++i) {
    text += std::to_string(i);
    offsets.push_back(static_cast<uint32_t>(text.size()));
  }
  const TokenIndex index(text, offsets);
  for (int i = 0; i < 10'000; ++i) ASSERT_EQ(index.Find(std::to_string(i)), i);
  EXPECT_EQ(index.Find("10000"), -1);
}

}  // namespace
}  // namespace renga
