#include "tools/auto_context.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/tools/process.h"

namespace renga {
namespace {

using testing::HasSubstr;

constexpr uint64_t kMiB = uint64_t{1} << 20;

// The story model: 5 layers of 4 heads of 8, K and V, f16: 640 bytes a token; 1.1 MB of weights,
// made for 2,048 tokens.
int64_t Tokens(uint64_t free_bytes, int64_t sequences = 1) {
  CompileOptions options;
  options.max_sequences = sequences;
  const auto tokens = AutoContext(StoryModel(), options, free_bytes);
  EXPECT_TRUE(tokens.ok()) << tokens.status();
  return tokens.value_or(-1);
}

TEST(AutoContext, IsWhatTheMemoryHolds) {
  const int64_t made_for = Tokens(4096 * kMiB);
  EXPECT_GE(made_for, 256);
  EXPECT_EQ(Tokens(64 * 4096 * kMiB), made_for);
  // A twentieth is left over, and 256 MiB; many sequences share the rest.
  int64_t last = made_for;
  for (const int64_t sequences : {100, 300, 1000, 3000}) {
    const int64_t tokens = Tokens(400 * kMiB, sequences);
    EXPECT_LE(tokens, last);
    const int64_t step = tokens >= 1024 ? 1024 : 64;
    EXPECT_EQ(tokens % step, 0);
    const auto bytes = [sequences](int64_t of) {
      return static_cast<uint64_t>(of * sequences) * 640;
    };
    EXPECT_LE(bytes(tokens), 124 * kMiB);
    if (tokens < made_for) {
      EXPECT_GT(bytes(tokens + step), 122 * kMiB) << sequences;
    }
    last = tokens;
  }
  EXPECT_LT(last, made_for);
}

TEST(AutoContext, SaysWhatDoesNotFit) {
  const auto tokens = AutoContext(StoryModel(), {}, 100 * kMiB);
  EXPECT_EQ(tokens.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(tokens.status().message()),
              HasSubstr("-c auto: 100 MiB are free; weights take 1 MiB, a step up to 256 MiB, and "
                        "a page of 64 tokens for 1 sequences 40960 bytes"));
}

TEST(AutoContext, OfThisMachine) {
  const auto free_bytes = FreeHostBytes();
  ASSERT_TRUE(free_bytes.ok()) << free_bytes.status();
  EXPECT_GT(*free_bytes, 64 * kMiB);
  const TempFolder cache;
  const ProcessResult run =
      Renga({"run", StoryModel(), "-p", "A", "-n", "1", "-c", "auto", "--device", "cpu"},
            {.cache = cache.path()});
  EXPECT_EQ(run.exit_code, 0) << run.Describe();
  EXPECT_THAT(run.err, HasSubstr(" tokens\n"));
  EXPECT_THAT(run.err, HasSubstr(", context of "));
  const ProcessResult compile = Renga({"compile", StoryModel(), "-c", "auto", "-o", "/dev/null"});
  EXPECT_TRUE(compile.IsCleanError(2)) << compile.Describe();
  EXPECT_THAT(compile.err, HasSubstr("-c auto: the memory of the machine that will run the plan"));
}

}  // namespace
}  // namespace renga
