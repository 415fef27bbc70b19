// Files with random damage must end in a status of the expected kind: no crash, no hang, no other
// code. Each batch runs in a child process, which a crash or a hang takes down alone. The seed is
// printed; RENGA_SEED repeats a run.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <memory>
#include <random>
#include <string>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "ir/base/status.h"
#include "runtime/exec/generate.h"
#include "runtime/plan/serialize.h"
#include "tests/support/temp_folder.h"
#include "tools/compiler.h"
#include "tools/open_model.h"

namespace renga {
namespace {

constexpr int kFiles = 1000;
constexpr int kBatch = 100;
constexpr int kSecondsPerFile = 10;  // a hang; a mutant takes milliseconds

std::string ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

uint64_t Seed() {
  const char* seed = std::getenv("RENGA_SEED");
  return seed != nullptr ? std::strtoull(seed, nullptr, 10) : std::random_device()();
}

// One to four changes, mostly in the first `header` bytes, where structure lies.
void Mutate(std::mt19937_64& random, size_t header, std::string* bytes) {
  constexpr uint64_t kNasty[] = {
      0, 1, 0x7fffffff, 0xffffffff, uint64_t{1} << 40, uint64_t{1} << 63, ~uint64_t{0}};
  const int changes = 1 + static_cast<int>(random() % 4);
  for (int i = 0; i < changes && bytes->size() > 16; ++i) {
    const size_t range = random() % 8 != 0 ? std::min(header, bytes->size()) : bytes->size();
    const size_t at = random() % range;
    switch (random() % 6) {
      case 0:
        (*bytes)[at] ^= static_cast<char>(1 << random() % 8);
        break;
      case 1:
        (*bytes)[at] = static_cast<char>(random());
        break;
      case 2: {
        const uint64_t value = kNasty[random() % std::size(kNasty)];
        const size_t length = std::min<size_t>(random() % 2 == 0 ? 4 : 8, bytes->size() - at);
        bytes->replace(at, length, reinterpret_cast<const char*>(&value), length);
        break;
      }
      case 3:  // cut out, which moves all that follows
        bytes->erase(at, 1 + random() % 16);
        break;
      case 4:
        bytes->insert(at, 1 + random() % 16, static_cast<char>(random()));
        break;
      case 5:
        if (random() % 4 == 0) bytes->resize(at);
        break;
    }
  }
}

bool Expected(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kDataLoss:
    case absl::StatusCode::kUnimplemented:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kResourceExhausted:
      return !status.ok() ? !status.message().empty() : true;
    default:
      return false;
  }
}

// What `renga run FILE --ids ... -n 1` does.
absl::Status OpenAndRun(const std::string& path, const std::string& device) {
  OpenOptions options;
  options.use_cache = false;
  options.device = device;
  options.threads = 1;
  options.compile.threads = 1;
  options.compile.context = 64;
  RENGA_ASSIGN_OR_RETURN(OpenedModel model, OpenModel(path, options));
  GenerateOptions generate;
  generate.max_tokens = 1;
  generate.top_logits = 1;
  RENGA_ASSIGN_OR_RETURN(const std::vector<int32_t> ids, model.tokenizer->Encode("Once upon"));
  return Generate(*model.forward, *model.tokenizer, ids, generate).status();
}

int CountOk(const std::string& log) {
  int count = 0;
  for (size_t at = log.find(": OK\n"); at != std::string::npos; at = log.find(": OK\n", at + 1)) {
    ++count;
  }
  return count;
}

// Runs the mutants of one batch in a child. Returns how many of them ran in spite of their damage.
int RunBatch(uint64_t seed, int first, const std::string& device,
             const std::function<std::string(std::mt19937_64&)>& mutant) {
  const TempFolder folder;
  const std::string path = folder.File("mutant"), log = folder.File("log");
  const pid_t child = fork();
  if (child == 0) {
    FILE* out = fopen(log.c_str(), "w");
    for (int i = first; i < first + kBatch; ++i) {
      std::seed_seq sequence{seed & 0xffffffff, seed >> 32, static_cast<uint64_t>(i)};
      std::mt19937_64 random(sequence);
      folder.Write("mutant", mutant(random));
      fprintf(out, "%d: ", i);
      fflush(out);
      alarm(kSecondsPerFile);
      const absl::Status status = OpenAndRun(path, device);
      alarm(0);
      fprintf(out, "%s\n", status.ToString().c_str());
      fflush(out);
      if (!Expected(status)) _exit(3);
    }
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  const std::string text = ReadFile(log);
  if (child > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0) return CountOk(text);
  const size_t last = text.rfind('\n', text.size() - 2);
  ADD_FAILURE() << "mutant " << text.substr(last == std::string::npos ? 0 : last + 1)
                << (WIFSIGNALED(status) ? "  ended by signal " : "  exit ")
                << (WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status))
                << "; again with RENGA_SEED=" << seed;
  return 0;
}

void RunAll(const std::function<std::string(std::mt19937_64&)>& mutant) {
  const uint64_t seed = Seed();
  printf("seed %llu\n", static_cast<unsigned long long>(seed));
  int ran = 0;
  for (int first = 0; first < kFiles; first += kBatch) {
    ran += RunBatch(seed, first, first / kBatch % 5 == 4 ? "reference" : "cpu", mutant);
  }
  printf("%d of %d ran in spite of their damage\n", ran, kFiles);
  // Else the mutants are too tame, or so wild that nothing deep is reached.
  EXPECT_GT(ran, kFiles / 100);
  EXPECT_LT(ran, kFiles * 9 / 10);
}

TEST(Mutation, ThousandGgufs) {
  const std::string tiny = RENGA_SOURCE_DIR "/tests/data/tiny/";
  const std::string originals[] = {ReadFile(RENGA_SOURCE_DIR "/tests/data/stories260K.gguf"),
                                   ReadFile(tiny + "qwen2-Q4_0.gguf"),
                                   ReadFile(tiny + "llama-yarn.gguf")};
  RunAll([&](std::mt19937_64& random) {
    std::string bytes = originals[random() % std::size(originals)];
    // The metadata's bulk is the vocabulary; the first 2 KB and the tensor table are the rest.
    Mutate(random, random() % 2 == 0 ? 2048 : 32768, &bytes);
    return bytes;
  });
}

TEST(Mutation, ThousandPlans) {
  CompileOptions options;
  options.context = 64;
  options.threads = 1;
  auto compilation = Compile(RENGA_SOURCE_DIR "/tests/data/tiny/qwen2-Q4_0.gguf", options);
  ASSERT_TRUE(compilation.ok()) << compilation.status();
  const auto plan = plan::Serialize(compilation->plan);
  ASSERT_TRUE(plan.ok()) << plan.status();
  RunAll([&](std::mt19937_64& random) {
    std::string bytes = *plan;
    // Most get a right digest over its wrong content: the checks behind it must hold.
    const bool sealed = random() % 8 != 0;
    if (sealed) bytes.resize(bytes.size() - plan::kTrailerBytes);
    Mutate(random, bytes.size(), &bytes);
    return sealed ? plan::Seal(bytes) : bytes;
  });
}

}  // namespace
}  // namespace renga
