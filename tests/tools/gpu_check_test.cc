// tools/gpu-check on a machine without a GPU: the programs that it runs are played by scripts. Its
// last line must miss nothing that went wrong.
#include <filesystem>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/strings.h"
#include "tests/tools/process.h"

namespace renga {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

constexpr std::string_view kAllPass =
    "echo '[ RUN      ] A.B'; echo '[       OK ] A.B (1 ms)'; "
    "echo '[ RUN      ] A.C'; echo '[       OK ] A.C (1 ms)'";
// One text, or eight where prompts come from a file.
constexpr std::string_view kDecodes =
    R"(n=1; [[ " $* " != *" -f "* ]] || n=8
       for ((i = 0; i < n; ++i)); do
         echo '{"ids":[7],"text":"x","finish_reason":"length","timings":{"reused_tokens":128}}'
       done)";

class GpuCheckTest : public testing::Test {
 protected:
  GpuCheckTest() {
    Play("nvidia-smi", "echo 'NVIDIA H100 80GB HBM3'");
    Play("gpu-kernels", "echo '40 passed, 0 failed'");
    Play("kernels_test", "");
    Play("cuda_kernel_bench", "");
    Play("gpu_parity_test", kAllPass);
    Play("compute-sanitizer",
         "echo '========= ERROR SUMMARY: 0 errors'\nwhile [[ $1 != renga ]]; do shift; done; "
         "\"$@\"");
    Play("renga_synthetic_model", "while [[ $1 != -o ]]; do shift; done; echo x >\"$2\"");
    PlayRenga(/*decode=*/1000, /*prompt=*/99000);
    folder_.Write("stories260K.gguf", "");
  }

  void Play(std::string_view program, std::string_view script) {
    const std::string path = folder_.Write(program, StrCat("#!/bin/bash\n", script, "\n"));
    std::filesystem::permissions(path, std::filesystem::perms::owner_all);
  }

  void PlayRenga(int decode, int prompt, int first_token_ms = 400) {
    Play("renga", StrCat("if [[ $* == *' -c 28672 '* ]]; then\n"
                         "  trap 'echo \"1 token; ended by interrupted\" >&2; exit 130' INT\n"
                         "  echo 'cuda:0 Fake' >&2; sleep 5 & wait\n"
                         "elif [[ $1 == run ]]; then echo '1 token, first token after ",
                         first_token_ms, " ms; ended by length' >&2; ", kDecodes,
                         "\nelse echo '{\"model\":\"x\",\"rows\":[",
                         "{\"test\":\"pp2048\",\"tok_s\":", prompt, ".5,\"stdev\":1,\"bytes\":2},",
                         "{\"test\":\"tg128\",\"tok_s\":9.5e+3,\"stdev\":1,\"bytes\":2},",
                         "{\"test\":\"serve256+64x8\",\"tok_s\":5000,\"stdev\":1},",
                         "{\"test\":\"serve256+64x32\",\"tok_s\":5001,\"stdev\":1},",
                         "{\"test\":\"serve256+64x128\",\"tok_s\":4000.5,\"stdev\":1},",
                         "{\"test\":\"tg64x8@256\",\"tok_s\":1500,\"stdev\":1},",
                         "{\"test\":\"tg64x32@256\",\"tok_s\":5002,\"stdev\":1},",
                         "{\"test\":\"tg64x128@256\",\"tok_s\":4869.5,\"stdev\":1},",
                         "{\"test\":\"tg128@1024\",\"tok_s\":", decode, ".25,\"stdev\":1}]}'\nfi"));
  }

  ProcessResult Run(std::vector<std::string> flags) {
    flags.insert(flags.begin(), {RENGA_SOURCE_DIR "/tools/gpu-check", "--bin", folder_.path(),
                                 "--out", folder_.File("out"), "--data", folder_.path()});
    return RunProcess("/bin/bash", flags);
  }

 private:
  TempFolder folder_;
};

TEST_F(GpuCheckTest, EachPartCountsWhatItDid) {
  const ProcessResult result = Run({"--speed", "llama-3.1-8b-q8_0"});
  EXPECT_EQ(result.exit_code, 0) << result.Describe();
  EXPECT_THAT(result.out, HasSubstr("kernels: 40 passed, 0 failed\n"));
  EXPECT_THAT(result.out, HasSubstr("parity: 2 passed, 0 failed"));
  EXPECT_THAT(result.out, HasSubstr("racecheck: clean over 1 models\n"));
  EXPECT_THAT(result.out, HasSubstr("load of llama-3.1-8b-q8_0: 0.400 s to the first token, "));
  EXPECT_THAT(result.out, HasSubstr("decode behind 1,024 tokens 1000.25 tok/s, llama.cpp 227"));
  EXPECT_THAT(result.out, HasSubstr("prompt of 2,048 99000.5 tok/s"));
  EXPECT_THAT(result.out, HasSubstr("many with stories260K: 8 of 8 texts as alone with "
                                    "--deterministic, 8 without\n"));
  // Kernels 40, parity 2, four tools, two of many, one load, two speeds.
  EXPECT_THAT(result.out, EndsWith("\n51 passed, 0 failed\n"));
}

TEST_F(GpuCheckTest, TooSlowHasFailedOnTheGpuOfTheFigures) {
  PlayRenga(/*decode=*/337, /*prompt=*/19999, /*first_token_ms=*/601);  // 1.3 times 260 is 338
  const std::vector<std::string> flags = {"--only", "load",    "--only",
                                          "speed",  "--speed", "llama-3.1-8b-q4_k_m"};
  ProcessResult result = Run(flags);
  EXPECT_EQ(result.exit_code, 1) << result.Describe();
  // Of 128 sequences 4,870 are asked for.
  EXPECT_THAT(result.out, HasSubstr("32 sequences of llama-3.1-8b-q4_k_m: 5002 tok/s, 5001 with "));
  EXPECT_THAT(result.out, HasSubstr("reads a prompt: text ended after 0.0"));
  EXPECT_THAT(result.out, EndsWith("\n3 passed, 4 failed\n"));
  Play("nvidia-smi", "echo 'NVIDIA T4'");
  result = Run(flags);
  EXPECT_EQ(result.exit_code, 0) << result.Describe();
  EXPECT_THAT(result.out, HasSubstr("not held against that on NVIDIA T4"));
  EXPECT_THAT(result.out, EndsWith("\n7 passed, 0 failed\n"));
}

TEST_F(GpuCheckTest, WhatDidNotRunHasFailed) {
  struct Case {
    const char *program, *script, *part, *last_line;
  };
  const Case cases[] = {
      {"gpu-kernels", "exit 1", "kernels", "\n0 passed, 1 failed\n"},
      {"gpu-kernels", "echo '3 passed, 2 failed'; exit 1", "kernels", "\n3 passed, 2 failed\n"},
      {"gpu_parity_test", "exit 139", "parity", "\n0 passed, 1 failed\n"},
      {"gpu_parity_test", "echo '[ RUN      ] A.B'; echo '[  SKIPPED ] A.B (0 ms)'", "parity",
       "\n0 passed, 1 failed\n"},
      {"gpu_parity_test", "echo '[ RUN      ] A.B'; echo '[       OK ] A.B (1 ms)'; exit 1",
       "parity", "\n1 passed, 1 failed\n"},
      // Finds nothing, as the program never came to its end.
      {"compute-sanitizer", "exit 0", "sanitizers", "\n0 passed, 4 failed\n"},
      {"renga_synthetic_model", "exit 2", "load", "\n0 passed, 1 failed\n"},
      {"renga", "exit 3", "load", "\n0 passed, 1 failed\n"},
      {"renga", "exit 3", "sanitizers", "\n0 passed, 2 failed\n"},
      {"renga", "exit 3", "speed", "\n0 passed, 1 failed\n"},
      {"renga", "exit 3", "many", "\n0 passed, 1 failed\n"},
      {"renga", "echo '{}'", "many", "\n0 passed, 2 failed\n"},
      // Other texts beside others.
      {"renga", R"(x=1; [[ "$*" != *"parallel 8"* ]] || x=2
          for i in 1 2 3 4 5 6 7 8; do echo "{\"ids\":[$x],\"text\":\"x\"}"; done)",
       "many", "\n0 passed, 2 failed\n"},
      {"renga", "echo '{}'", "speed", "\n0 passed, 2 failed\n"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(StrCat(c.program, ": ", c.script));
    Play("compute-sanitizer", "echo; while [[ $1 != renga ]]; do shift; done; \"$@\"");
    Play("gpu_parity_test", kAllPass);
    Play("renga_synthetic_model", "while [[ $1 != -o ]]; do shift; done; echo x >\"$2\"");
    PlayRenga(1000, 99000);
    Play(c.program, c.script);
    const ProcessResult result = Run({"--only", c.part, "--speed", "qwen2.5-0.5b-f16"});
    EXPECT_EQ(result.exit_code, 1) << result.Describe();
    EXPECT_THAT(result.out, EndsWith(c.last_line)) << result.Describe();
  }
}

TEST_F(GpuCheckTest, WrongUsage) {
  EXPECT_EQ(Run({"--only", "soup"}).exit_code, 2);
  EXPECT_EQ(Run({"--speed", "gpt-5"}).exit_code, 2);
  EXPECT_EQ(Run({"--frobnicate"}).exit_code, 2);
  EXPECT_EQ(Run({"--models"}).exit_code, 2);
  const ProcessResult missing = RunProcess(
      "/bin/bash", {RENGA_SOURCE_DIR "/tools/gpu-check", "--only", "parity", "--out", "/dev/null"});
  EXPECT_EQ(missing.exit_code, 3) << missing.Describe();
  EXPECT_THAT(missing.err + missing.out, HasSubstr("gpu_parity_test is neither in PATH"));
  EXPECT_THAT(missing.out, Not(HasSubstr("passed")));
}

}  // namespace
}  // namespace renga
