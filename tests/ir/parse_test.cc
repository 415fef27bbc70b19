#include "ir/text/parse.h"

#include <chrono>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/strings.h"
#include "ir/text/print.h"
#include "tests/ir/golden_file.h"

namespace renga {
namespace {

using testing::HasSubstr;

std::string Message(std::string_view text) {
  return std::string(ToStd(Parse(text, "x.ir").status().message()));
}

// tests/ir/data/parse_errors.txt: "// Tests that", the text, then the message after "// ERROR:".
TEST(ParseTest, EveryErrorReads) {
  const std::string path = RENGA_SOURCE_DIR "/tests/ir/data/parse_errors.txt";
  constexpr std::string_view kError = "// ERROR:\n";
  std::vector<std::string> cases = SplitCases(ReadTestFile(path));
  EXPECT_GT(cases.size(), 50u);
  for (std::string& text : cases) {
    SCOPED_TRACE(text.substr(0, text.find('\n')));
    ASSERT_EQ(text.rfind("// Tests that ", 0), 0u);
    const size_t begin = text.find('\n') + 1;
    const size_t error = std::min(text.find(kError), text.size());
    const absl::StatusOr<Graph> graph =
        Parse(std::string_view(text).substr(begin, error - begin), "x.ir");
    ASSERT_FALSE(graph.ok());
    EXPECT_EQ(graph.status().code(), absl::StatusCode::kInvalidArgument);
    const std::string message = StrCat(graph.status().message(), "\n");
    if (UpdateGolden()) {
      text = StrCat(text.substr(0, error), kError, message);
      continue;
    }
    EXPECT_EQ(text.substr(std::min(error + kError.size(), text.size())), message);
  }
  if (UpdateGolden()) WriteCases(path, cases);
}

TEST(ParseTest, CommentsBlankLinesAndSpacesAreDropped) {
  const absl::StatusOr<Graph> graph = Parse(
      "\r\n// first\n\nir 1 // the version\r\n  dim   T=1 .. 8\n// between\n\n"
      "graph @step( %x :f32[ T ] ){ // body\n\n  // a node\n"
      "%y://\n",
      "x.ir");
  EXPECT_FALSE(graph.ok());  // a node does not go on after a line end
  const absl::StatusOr<Graph> good = Parse(
      "\r\n// first\n\nir 1 // the version\r\n  dim   T=1 .. 8\n// between\n\n"
      "graph @step( %x :f32[ T ] ){ // body\n\n  // a node\n"
      "%y:f32[T]=add(%x,%x)from(%y)// end\nreturn %y//\n}// done",
      "x.ir");
  ASSERT_TRUE(good.ok()) << good.status();
  EXPECT_EQ(Print(*good),
            "ir 1\ndim T = 1..8\ngraph @step(%x: f32[T]) {\n"
            "  %y: f32[T] = add(%x, %x) from(%y)\n  return %y\n}\n");
}

TEST(ParseTest, OrderOfDeclarationsIsNormalised) {
  const absl::StatusOr<Graph> graph =
      Parse("ir 1\ncache %c: f16[8]\nweight @w: f32[4]\ndim T = 1..8\ngraph @g() {\n  return\n}\n",
            "x.ir");
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_EQ(Print(*graph),
            "ir 1\ndim T = 1..8\nweight @w: f32[4]\ncache %c: f16[8]\ngraph @g() {\n  return\n}\n");
}

TEST(ParseTest, AWeightAndAValueMayShareAName) {
  const absl::StatusOr<Graph> graph = Parse(
      "ir 1\nweight @x: f32[4]\ngraph @g(%x: f32[4]) {\n  %y: f32[4] = add(%x, @x)\n"
      "  return %y\n}\n",
      "x.ir");
  EXPECT_TRUE(graph.ok()) << graph.status();
}

TEST(ParseTest, NulBytes) {
  EXPECT_THAT(Message(std::string_view("\0", 1)), HasSubstr("x.ir:1:1: expected 'ir'"));
  EXPECT_THAT(Message(std::string_view("ir 1\0\n", 6)), HasSubstr("\\x00"));
  EXPECT_THAT(Message(std::string_view("ir 1\nweight @\"\0", 15)), HasSubstr("x.ir:2:8: "));
  EXPECT_THAT(Message(std::string_view("ir 1\nweight @\"\\\0", 16)), HasSubstr("unknown escape"));
}

TEST(ParseTest, LongLinesAreCutAroundTheCaret) {
  const std::string filler(5 << 20, ' ');
  const std::string message = Message(StrCat("ir 1\nweight ", filler, "?", filler, "\n"));
  EXPECT_LT(message.size(), 1000u);
  EXPECT_THAT(message, HasSubstr(StrCat("x.ir:2:", 8 + filler.size(), ": ")));
  const std::string long_name(5 << 20, 'x');
  EXPECT_LT(Message(StrCat("ir 1\n", long_name)).size(), 1000u);
  EXPECT_LT(Message(StrCat("ir 1\nweight @\"", long_name)).size(), 1000u);
  EXPECT_LT(Message(StrCat("ir 1\ngraph @g() {\n  %x: f32[1] = ", long_name)).size(), 1000u);
  EXPECT_LT(Message(StrCat("ir 1\ngraph @g(%", long_name, ": f32[1]) {\n  %", long_name,
                           ": f32[1] = add(%", long_name, ", %", long_name, ")\n  return\n}\n"))
                .size(),
            3000u);
}

TEST(ParseTest, TooMuchText) {
  EXPECT_THAT(Message(std::string((size_t{64} << 20) + 1, ' ')),
              HasSubstr("x.ir: expected at most 67108864 bytes of text, got 67108865"));
}

TEST(ParseTest, TooManyDims) {
  std::string text = "ir 1\n";
  for (int i = 0; i < 257; ++i) StrAppend(&text, "dim T", i, " = 1..2\n");
  EXPECT_THAT(Message(text), HasSubstr("expected at most 256 dims"));
}

// 10 MB of each kind of garbage in well under the time a person notices.
TEST(ParseTest, GarbageNeitherCrashesNorHangs) {
  const std::string head = "ir 1\ngraph @g(%x: f32[4]) {\n";
  for (const std::string piece :
       {"(", "{", "%", "\"", "\\", "//", "\n", "9", ".", "-", "%x: ", "%x: f32[4], ", "@\"\\x00",
        "f32[", "  %x: f32[4] = add(%x, %x)\n"}) {
    std::string text = head;
    while (text.size() < (10u << 20)) text += piece;
    const auto start = std::chrono::steady_clock::now();
    EXPECT_FALSE(Parse(text, "x.ir").ok());
    EXPECT_FALSE(Parse(std::string_view(text).substr(head.size()), "x.ir").ok());
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    EXPECT_LT(seconds.count(), 10.0) << piece;
  }
}

// Legal text whose every part repeats a hundred thousand times: quadratic work would show.
TEST(ParseTest, LargeGraphsTakeLinearTime) {
  std::string text = "ir 1\n";
  for (int i = 0; i < 50000; ++i) StrAppend(&text, "weight @w", i, ": f32[4]\n");
  StrAppend(&text, "graph @g(%0: f32[4]) {\n");
  for (int i = 0; i < 50000; ++i) {
    StrAppend(&text, "  %", i + 1, ": f32[4] = add(%", i, ", @w", i, ")\n");
  }
  StrAppend(&text, "  return %50000\n}\n");
  const auto start = std::chrono::steady_clock::now();
  const absl::StatusOr<Graph> graph = Parse(text, "x.ir");
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_EQ(Print(*graph), text);
  EXPECT_LT(seconds.count(), 5.0);  // some 0.1 s; minutes if quadratic
  RecordProperty("parse_ms", static_cast<int>(seconds.count() * 1000));
}

// Mutations of a good text: bytes changed, dropped, doubled, lines swapped, the end cut off.
TEST(ParseTest, MutatedTextsNeverCrash) {
  const std::string good = ReadTestFile(RENGA_SOURCE_DIR "/tests/ir/data/layer.ir");
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(StrCat("seed ", seed));
  std::mt19937 random(seed);
  static constexpr std::string_view kPieces[] = {
      "%", "@",      "\"",        "\\x", "[",  "]", "(",          ")",
      "{", "}",      "..",        ",",   "\n", "-", "9999999999", "T",
      "0", "return", "kv_append", "//",  "=",  ":", "%0.k_cache", "q4_k"};
  int accepted = 0;
  for (int i = 0; i < 3000; ++i) {
    std::string text = good;
    for (uint32_t n = 1 + random() % 3; n > 0; --n) {
      const size_t at = random() % text.size();
      const size_t length = random() % 20;
      switch (random() % 5) {
        case 0:
          text[at] = static_cast<char>(random());
          break;
        case 1:
          text.erase(at, length);
          break;
        case 2:
          text.insert(random() % text.size(), text.substr(at, length));
          break;
        case 3:
          text.replace(at, random() % 3, kPieces[random() % std::size(kPieces)]);
          break;
        case 4:
          if (random() % 10 == 0) text.resize(at + 1);
          break;
      }
    }
    const absl::StatusOr<Graph> graph = Parse(text, "mutated.ir");
    if (!graph.ok()) {
      EXPECT_EQ(graph.status().code(), absl::StatusCode::kInvalidArgument) << graph.status();
      EXPECT_THAT(std::string(ToStd(graph.status().message())), HasSubstr("mutated.ir"));
      continue;
    }
    ++accepted;  // a comment, a bound, a name: then the law holds
    const std::string printed = Print(*graph);
    const absl::StatusOr<Graph> again = Parse(printed, "again.ir");
    ASSERT_TRUE(again.ok()) << again.status() << "\n" << printed;
    EXPECT_EQ(Print(*again), printed);
  }
  EXPECT_GT(accepted, 0);
}

}  // namespace
}  // namespace renga
