#include "runtime/memory/saved_prefix.h"

#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/runtime/memory/kv_plan.h"

namespace renga {
namespace {

using ::testing::HasSubstr;

SavedPrefix Sample() {
  SavedPrefix prefix;
  prefix.identity = {1, 2};
  prefix.page_tokens = 4;
  prefix.tokens = {9, 8, 7, 6, 5, 4, 3, 2};
  prefix.page_bytes = 10;
  prefix.pages = "abcdefghijABCDEFGHIJ";
  return prefix;
}

std::string Message(std::string_view bytes) {
  return std::string(DecodeSavedPrefix(bytes).status().message());
}

// Wrong sizes behind a digest that is right.
std::string Resealed(std::string bytes) {
  bytes.resize(bytes.size() - 16);
  const Digest digest = DigestOf(bytes);
  bytes.append(reinterpret_cast<const char*>(&digest.high), 8);
  bytes.append(reinterpret_cast<const char*>(&digest.low), 8);
  return bytes;
}

TEST(SavedPrefix, ComesBack) {
  const auto got = DecodeSavedPrefix(Encode(Sample()));
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(got->identity, (Digest{1, 2}));
  EXPECT_EQ(got->page_tokens, 4);
  EXPECT_EQ(got->tokens, Sample().tokens);
  EXPECT_EQ(got->page_bytes, 10u);
  EXPECT_EQ(got->pages, Sample().pages);
  SavedPrefix none;
  none.page_tokens = 4;
  EXPECT_TRUE(DecodeSavedPrefix(Encode(none))->tokens.empty());
}

TEST(SavedPrefix, AnyDamageIsSeen) {
  const std::string bytes = Encode(Sample());
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::string damaged = bytes;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x20);
    EXPECT_FALSE(DecodeSavedPrefix(damaged).ok()) << i;
    EXPECT_FALSE(DecodeSavedPrefix(bytes.substr(0, i)).ok()) << i;
  }
  EXPECT_THAT(Message(""), HasSubstr("got another file"));
  EXPECT_THAT(Message(bytes.substr(0, bytes.size() - 1)), HasSubstr("damaged"));
}

TEST(SavedPrefix, SizesAreCheckedBehindTheDigest) {
  const std::string bytes = Encode(Sample());
  int accepted = 0;
  std::mt19937 random(3);
  for (int i = 0; i < 20000; ++i) {
    std::string changed = bytes;
    changed[12 + random() % 36] = static_cast<char>(random());
    if (random() % 2 == 0) changed[32 + random() % 16] = static_cast<char>(random());
    const auto got = DecodeSavedPrefix(Resealed(changed));
    if (!got.ok()) continue;
    ++accepted;
    EXPECT_EQ(got->pages.size(),
              got->tokens.size() / static_cast<size_t>(got->page_tokens) * got->page_bytes);
  }
  EXPECT_GT(accepted, 0);
  std::string changed = bytes;
  changed[8] = 3;
  EXPECT_EQ(Message(Resealed(changed)), "expected format version 1 or 2, got 3");
  changed[8] = 2;
  changed.insert(changed.size() - 16, 7, 'x');
  EXPECT_EQ(Message(Resealed(changed)), "expected the pages of a window, got 7 bytes");
  changed = bytes;
  changed[32] = 7;
  EXPECT_EQ(Message(Resealed(changed)),
            "expected whole pages of 4 tokens and 10 bytes for 7 tokens, got 52 bytes");
}

TEST(SavedPrefix, TheIdentityIsThatOfWhatCellsHold) {
  plan::Plan plan = PlanOf(16, 2, 8);
  plan.target = "cpu";
  plan.ir = "ir 1\ndim C = 1..32\ngraph\n";
  const Digest identity = IdentityOf(plan);
  plan::Plan longer = PlanOf(64, 2, 80);
  longer.target = "cpu";
  longer.ir = "ir 1\ndim C = 1..320\ngraph\n";
  EXPECT_EQ(IdentityOf(longer), identity);
  for (void (*change)(plan::Plan&) : {
           +[](plan::Plan& p) { p.target = "sm_90a"; },
           +[](plan::Plan& p) { p.caches[0].dtype = DType::kF16; },
           +[](plan::Plan& p) { p.geometry.page_tokens = 8; },
           +[](plan::Plan& p) { p.ir += "x"; },
           +[](plan::Plan& p) { p.weights.emplace_back(); },
       }) {
    plan::Plan other = plan;
    change(other);
    EXPECT_NE(IdentityOf(other), identity);
  }
}

}  // namespace
}  // namespace renga
