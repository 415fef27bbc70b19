// Everything a user can get wrong: exit code, one paragraph, at once, and nothing left behind.
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/tools/process.h"

namespace renga {
namespace {

using Args = std::vector<std::string>;

#if defined(__SANITIZE_ADDRESS__)
constexpr int64_t kMaxPeakKb = int64_t{1} << 40;  // the sanitizer's shadow counts too
constexpr double kMaxSeconds = 20;
#else
constexpr int64_t kMaxPeakKb = 100 << 10;
constexpr double kMaxSeconds = 1;
#endif

std::string ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

// `says`: what the message must name.
void ExpectError(const Args& args, int code, const Args& says, const ProcessOptions& options = {}) {
  const ProcessResult result = Renga(args, options);
  EXPECT_TRUE(result.IsCleanError(code)) << "expected exit " << code << "\n" << result.Describe();
  for (const std::string& word : says) {
    EXPECT_NE(result.err.find(word), std::string::npos) << "expected '" << word << "' in\n"
                                                        << result.err;
  }
  EXPECT_LT(result.peak_kb, kMaxPeakKb) << result.Describe();
  EXPECT_LT(result.cpu_seconds, kMaxSeconds) << result.Describe();
}

TEST(BadInput, WrongUsage) {
  ExpectError({}, 2, {"renga --help"});
  ExpectError({"rnu"}, 2, {"rnu", "did you mean 'run'"});
  ExpectError({"tokenise", "x"}, 2, {"did you mean 'tokenize'"});
  ExpectError({"paint"}, 2, {"expected one of compile, run, dump"});
  ExpectError({"run"}, 2, {"MODEL"});
  ExpectError({"run", StoryModel(), "--frobnicate"}, 2, {"frobnicate", "renga run --help"});
  ExpectError({"run", StoryModel(), "-p"}, 2, {"--prompt"});
  ExpectError({"run", StoryModel(), "-p", "a", "-n", "many"}, 2, {"many"});
  ExpectError({"run", StoryModel(), "-p", "a", "-n", "99999999999999999999"}, 2, {"-n"});
  ExpectError({"run", StoryModel(), "-p", "a", "-n", "-2"}, 2, {"-n", "-2"});
  ExpectError({"run", StoryModel(), "-p", "a", "-p", "b"}, 2, {"--prompt"});
  ExpectError({"run", StoryModel(), "-p", "a", "-f", "b"}, 2, {"--file"});
  ExpectError({"run", StoryModel(), "-p", "a", "--ids", "1"}, 2, {"--ids"});
  ExpectError({"run", StoryModel()}, 2, {"no prompt", "-p"});
  ExpectError({"run", StoryModel(), "-p", "a", "--threads", "-1"}, 2, {"--threads"});
  ExpectError({"run", StoryModel(), "-p", "a", "--temp", "nan"}, 2, {"temp"});
  ExpectError({"run", StoryModel(), "-p", "a", "--logit-bias", "x"}, 2, {"--logit-bias", "'x'"});
  ExpectError({"run", StoryModel(), "-p", "a", "--logit-bias", "512=1"}, 2, {"512"});
  ExpectError({"run", StoryModel(), "-p", "a", "--logits", "513"}, 2, {"512", "513"});
  ExpectError({"run", StoryModel(), "-p", "a", "-c", "0"}, 2, {"-c"});
  ExpectError({"run", StoryModel(), "-p", "a", "--kv-type", "k=q5_0"}, 2,
              {"--kv-type", "with f32, f16, bf16, q8_0, q4_0 or f8_e4m3, got 'k=q5_0'"});
  ExpectError({"run", StoryModel(), "-p", "a", "--kv-type", "3-5:f32"}, 2,
              {"expected layers from 0 to 4, got 3-5 (--kv-type)"});
  ExpectError({"run", StoryModel(), "-p", "a", "--kv-type", "4-2:f32"}, 2,
              {"--kv-type", "0-3:k=TYPE", "got '4-2:f32'"});
  ExpectError(
      {"run", StoryModel(), "-p", "a", "--kv-type", "k=f32,v=q4_0"}, 2,
      {"%0.v_cache", "a multiple of 32 in q4_0, got 8", "f32, f16, bf16 and f8_e4m3 take any"});
  ExpectError(
      {"compile", StoryModel(), "-o", "/dev/null", "--target", "sm_80", "--kv-type", "k=q4_0"}, 2,
      {"cache %0.k_cache", "heads of a multiple of 32 in q4_0, got 8"});
  ExpectError(
      {"compile", StoryModel(), "-o", "/dev/null", "--target", "sm_80", "--kv-type", "v=q8_0"}, 2,
      {"%0.v_cache", "a multiple of 32 in q8_0, got 8"});
  ExpectError({"run", StoryModel(), "-p", "a", "--device", "tpu"}, 2, {"tpu", "cpu"});
  ExpectError({"run", StoryModel(), "-p", "a", "--device", "cuda"}, 3, {"cuda"});
  ExpectError({"compile", StoryModel()}, 2, {"--output"});
  ExpectError({"dump", StoryModel(), "--stage", "soup"}, 2, {"soup", "weights"});
  ExpectError({"dump", StoryModel(), "--after", "soup"}, 2, {"soup", "frontend"});
  ExpectError({"dump", StoryModel(), "--stage", "plan", "--after", "frontend"}, 2, {"--after"});
  ExpectError({"dump", StoryModel(), "--stage", "gguf", "--layer", "1"}, 2, {"--layer"});
  ExpectError({"tokenize", StoryModel()}, 2, {"-p"});
  ExpectError({"tokenize", StoryModel(), "--decode", "1", "-p", "x"}, 2, {"--decode"});
  ExpectError({"completion", "tcsh"}, 2, {"tcsh"});
}

TEST(BadInput, Ids) {
  ExpectError({"run", StoryModel(), "--ids", "1,512"}, 2, {"512", "511"});
  ExpectError({"run", StoryModel(), "--ids", "-3"}, 2, {"-3"});
  ExpectError({"run", StoryModel(), "--ids", "1,x"}, 2, {"'x'"});
  ExpectError({"run", StoryModel(), "--ids", "4294967297"}, 2, {"4294967297"});
  ExpectError({"run", StoryModel(), "--ids", ""}, 2, {"--ids"});
  ExpectError({"tokenize", StoryModel(), "--decode", "9999"}, 2, {"9999", "512"});
}

TEST(BadInput, PromptsThatDoNotFit) {
  std::string ids = "1";
  for (int i = 0; i < 40; ++i) ids += ",403";
  ExpectError({"run", StoryModel(), "--ids", ids, "-c", "32"}, 2, {"41", "32", "-c"});
  // Far too long: not even tokenized.
  ExpectError({"run", StoryModel(), "-f", "-", "-c", "32"}, 2, {"32", "-c"},
              {.input = std::string(8 << 20, 'a')});
  ExpectError({"run", StoryModel(), "-f", "-"}, 2, {"stdin"},
              {.input = std::string((16 << 20) + 1, 'a')});
  ExpectError({"run", StoryModel(), "-f", "/nonexistent/prompt"}, 2, {"/nonexistent/prompt"});
  ExpectError({"run", StoryModel(), "-f", "/"}, 2, {"directory"});
}

TEST(BadInput, FilesThatAreNoModel) {
  const TempFolder folder;
  const Args files = {"/nonexistent/model.gguf",
                      folder.path(),
                      folder.Write("empty.gguf", ""),
                      folder.Write("short.gguf", "GGUF"),
                      folder.Write("cut.gguf", ReadFile(StoryModel()).substr(0, 4096)),
                      folder.Write("text.gguf", "hello\n"),
                      "/dev/null"};
  for (const std::string& file : files) {
    for (const Args& args : std::vector<Args>{{"run", file, "-p", "a"},
                                              {"compile", file, "-o", folder.File("x.plan")},
                                              {"dump", file},
                                              {"dump", file, "--stage", "gguf"},
                                              {"dump", file, "--stage", "weights"},
                                              {"tokenize", file, "-p", "a"}}) {
      SCOPED_TRACE(args[0]);
      ExpectError(args, 2, {file});
    }
  }
  EXPECT_FALSE(std::filesystem::exists(folder.File("x.plan")));
}

TEST(BadInput, ControlCharactersInNamesDoNotReachTheTerminal) {
  const ProcessResult result = Renga({"run", "/nonexistent/\x1b[31m\x07", "-p", "a"});
  EXPECT_TRUE(result.IsCleanError(2)) << result.Describe();
  EXPECT_EQ(result.err.find('\x1b'), std::string::npos);
  EXPECT_EQ(result.err.find('\x07'), std::string::npos);
}

TEST(BadInput, IrWithAMistakeHasACaret) {
  const TempFolder folder;
  const std::string file = folder.Write("x.ir", "ir 1\ndim T = 1..\n");
  const ProcessResult result = Renga({"dump", file});
  EXPECT_TRUE(result.IsCleanError(2)) << result.Describe();
  EXPECT_NE(result.err.find("x.ir:2:"), std::string::npos) << result.err;
  EXPECT_NE(result.err.find('^'), std::string::npos) << result.err;
}

TEST(BadInput, APlanWhoseGgufChanged) {
  const TempFolder folder;
  std::string bytes = ReadFile(StoryModel());
  const std::string model = folder.Write("m.gguf", bytes), plan = folder.File("m.plan");
  ASSERT_EQ(Renga({"compile", model, "-o", plan}).exit_code, 0);
  ASSERT_EQ(Renga({"run", plan, "-p", "a", "-n", "1"}).exit_code, 0);
  for (const std::string device : {"cpu", "reference"}) {
    SCOPED_TRACE(device);
    bytes[bytes.size() - 5000] ^= 1;  // in a weight
    folder.Write("m.gguf", bytes);
    ExpectError({"run", plan, "-p", "a", "--device", device}, 2, {"m.gguf"});
    bytes[bytes.size() - 5000] ^= 1;
    folder.Write("m.gguf", bytes.substr(0, bytes.size() - 32));
    ExpectError({"run", plan, "-p", "a", "--device", device}, 2, {"m.gguf"});
    std::filesystem::remove(model);
    ExpectError({"run", plan, "-p", "a", "--device", device}, 2, {"m.gguf"});
    folder.Write("m.gguf", bytes);
    EXPECT_EQ(Renga({"run", plan, "-p", "a", "-n", "1"}).exit_code, 0);
  }
}

TEST(BadInput, AChangedGgufIsCompiledAgain) {
  const TempFolder folder, cache;
  std::string bytes = ReadFile(StoryModel());
  const std::string model = folder.Write("m.gguf", bytes);
  const auto time = std::filesystem::last_write_time(model);
  const Args args = {"run", model, "-p", "a", "-n", "1"};
  ASSERT_EQ(Renga(args, {.cache = cache.path()}).exit_code, 0);
  bytes[bytes.size() - 5000] ^= 1;
  folder.Write("m.gguf", bytes);
  std::filesystem::last_write_time(model, time);  // not to be told apart by stat
  EXPECT_EQ(Renga(args, {.cache = cache.path()}).exit_code, 0);
}

TEST(BadInput, DamagedPlans) {
  const TempFolder folder;
  const std::string plan = folder.File("m.plan");
  ASSERT_EQ(Renga({"compile", StoryModel(), "-o", plan}).exit_code, 0);
  std::string bytes = ReadFile(plan);
  const std::string cut = folder.Write("cut.plan", bytes.substr(0, bytes.size() / 2));
  bytes[bytes.size() / 3] ^= 0x10;
  const std::string flipped = folder.Write("flipped.plan", bytes);
  for (const std::string& file : {cut, flipped}) {
    ExpectError({"run", file, "-p", "a"}, 2, {file});
    ExpectError({"dump", file, "--stage", "plan"}, 2, {file});
    ExpectError({"tokenize", file, "-p", "a"}, 2, {file});
  }
}

TEST(BadInput, CompiledFilesAreNotCompiledAgain) {
  const TempFolder folder;
  const std::string plan = folder.File("m.plan"), ir = folder.File("m.ir");
  ASSERT_EQ(Renga({"compile", StoryModel(), "-o", plan}).exit_code, 0);
  ASSERT_EQ(Renga({"dump", StoryModel(), "-o", ir}).exit_code, 0);
  ExpectError({"compile", plan, "-o", folder.File("x")}, 2, {"m.plan", "plan"});
  ExpectError({"compile", ir, "-o", folder.File("x")}, 2, {"m.ir", "graph"});
  ExpectError({"run", plan, "-p", "a", "--disable-pass", "rows-asked"}, 2, {"--disable-pass"});
  ExpectError({"dump", ir, "--stage", "plan"}, 2, {"m.ir"});
  ExpectError({"dump", ir, "--stage", "tokens"}, 2, {"m.ir"});
  ExpectError({"dump", plan, "--stage", "gguf"}, 2, {"m.plan"});
  EXPECT_FALSE(std::filesystem::exists(folder.File("x")));
}

TEST(BadInput, TargetsThatThereAreNot) {
  const TempFolder folder;
  ExpectError({"compile", StoryModel(), "-o", folder.File("x.plan"), "--target", "sm_70"}, 2,
              {"sm_70", "sm_90a"});
  ExpectError({"compile", StoryModel(), "-o", folder.File("x.plan"), "--target", "cpu", "--target",
               "sm_80"},
              2, {"cpu and GPUs need a plan each"});
  ExpectError({"compile", StoryModel(), "-o", folder.File("x.plan"), "--disable-pass", "soup"}, 2,
              {"soup"});
  EXPECT_FALSE(std::filesystem::exists(folder.File("x.plan")));
}

TEST(BadInput, TheModelIsNeverOverwritten) {
  const TempFolder folder;
  const std::string model = folder.Write("m.gguf", ReadFile(StoryModel()));
  const std::string link = folder.File("link.plan");
  std::filesystem::create_hard_link(model, link);
  ExpectError({"compile", model, "-o", model}, 2, {"m.gguf"});
  ExpectError({"compile", model, "-o", link}, 2, {"link.plan"});
  ExpectError({"dump", model, "-o", model}, 2, {"m.gguf"});
  EXPECT_EQ(ReadFile(model), ReadFile(StoryModel()));
}

// Whether the folder holds just what the test put there.
int CountFiles(const TempFolder& folder) {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
    count += entry.exists();
  }
  return count;
}

TEST(BadInput, UnwritableOutput) {
  const TempFolder folder;
  ExpectError({"compile", StoryModel(), "-o", "/nonexistent/x.plan"}, 2, {"/nonexistent/x.plan"});
  ExpectError({"compile", StoryModel(), "-o", folder.path()}, 2, {folder.path()});
  ExpectError({"compile", StoryModel(), "-o", "/proc/x.plan"}, 2, {"/proc/x.plan"});
  ExpectError({"dump", StoryModel(), "-o", "/proc/x.ir"}, 2, {"/proc/x.ir"});
  ExpectError({"compile", StoryModel(), "-o", folder.File("x.plan"), "--dump-dir", "/proc/x"}, 2,
              {"/proc/x"});
  EXPECT_EQ(CountFiles(folder), 0);
}

TEST(BadInput, FullDisk) {
  for (const Args& args : std::vector<Args>{{"dump", StoryModel()},
                                            {"dump", StoryModel(), "--json"},
                                            {"run", StoryModel(), "-p", "a", "-n", "4"},
                                            {"run", StoryModel(), "-p", "a", "-n", "4", "--json"},
                                            {"tokenize", StoryModel(), "-p", "a"},
                                            {"devices"},
                                            {"--help"},
                                            {"run", "--help"},
                                            {"completion", "bash"}}) {
    SCOPED_TRACE(args[0]);
    ExpectError(args, 3, {"stdout"}, {.stdout_path = "/dev/full"});
  }
  ExpectError({"compile", StoryModel(), "-o", "/dev/full"}, 3, {"/dev/full"});
}

TEST(BadInput, ClosedPipe) {
  for (const Args& args :
       std::vector<Args>{{"dump", StoryModel()},
                         {"dump", StoryModel(), "--stage", "tokens"},
                         {"run", StoryModel(), "-p", "a", "-n", "-1", "--ignore-eos"},
                         {"run", StoryModel(), "-p", "a", "-n", "4", "--json"},
                         {"tokenize", StoryModel(), "-p", "a"}}) {
    SCOPED_TRACE(args[0]);
    ExpectError(args, 2, {"stdout"}, {.close_stdout = true, .timeout_s = 60});
  }
}

}  // namespace
}  // namespace renga
