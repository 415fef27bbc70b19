// Files cut anywhere and changed anywhere: the reader answers, quickly, and touches no byte
// outside.

#include <cstdlib>
#include <ctime>
#include <fstream>
#include <iostream>
#include <random>
#include <sstream>
#include <string>

#include "frontend/gguf/gguf.h"
#include "frontend/gguf/metadata_text.h"
#include "gtest/gtest.h"
#include "tests/support/gguf_writer.h"
#include "tests/support/temp_folder.h"

namespace renga {
namespace {

std::string ReadModel() {
  std::ifstream in(RENGA_SOURCE_DIR "/tests/data/stories260K.gguf", std::ios::binary);
  std::ostringstream bytes;
  bytes << in.rdbuf();
  return std::move(bytes).str();
}

// Uses everything that an opened file hands out, so that a sanitizer sees every view.
uint64_t Touch(const GgufFile& file) {
  uint64_t sum = 0;
  for (const MetaEntry& entry : file.metadata().entries()) {
    sum += MetaText(entry.value, 1000, 1000).size() + entry.key.size();
  }
  for (const GgufTensor& tensor : file.tensors()) {
    const absl::Span<const uint8_t> data = file.data(tensor);
    sum += data.front() + data.back() + tensor.name.size() + tensor.elements();
  }
  return sum;
}

// Random runs print their seed; RENGA_TEST_SEED repeats one.
uint64_t Seed() {
  const char* text = std::getenv("RENGA_TEST_SEED");
  const uint64_t seed = text != nullptr ? std::strtoull(text, nullptr, 10) : std::random_device()();
  std::cout << "RENGA_TEST_SEED=" << seed << std::endl;
  return seed;
}

// Processor time, so that a busy machine does not fail a test.
double SecondsSince(std::clock_t start) {
  return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
}

// A model whose last tensor ends at the end of the file is whole at no shorter length.
void ExpectTruncated(const TempFolder& folder, const std::string& model, uint64_t size) {
  const std::string path = folder.Write("cut.gguf", std::string_view(model).substr(0, size));
  const absl::Status status = GgufFile::Open(path).status();
  EXPECT_EQ(status.code(),
            size == 0 ? absl::StatusCode::kInvalidArgument : absl::StatusCode::kDataLoss)
      << size << " bytes: " << status;
}

TEST(GgufRobustness, TruncatedAtEvery4K) {
  const TempFolder folder;
  const std::string model = ReadModel();
  ASSERT_GT(model.size(), 1000000u);
  for (uint64_t size = 0; size < model.size(); size += 4096) ExpectTruncated(folder, model, size);
}

TEST(GgufRobustness, TruncatedAnywhere) {
  const TempFolder folder;
  const std::string model = ReadModel();
  std::mt19937_64 random(Seed());
  for (int i = 0; i < 200; ++i) {
    // Half of the cuts in the header, which is where the fields are.
    const uint64_t most = i % 2 == 0 ? model.size() : 14176;
    ExpectTruncated(folder, model, random() % most);
  }
}

TEST(GgufRobustness, TruncatedSmallModelAtEveryByte) {
  const TempFolder folder;
  GgufWriter writer;
  writer.AddU32("a", 1).AddString("b", "text");
  writer.Add("c", MetaType::kArray, RawArray({"x", "yz"}));
  writer.AddTensor("t", DType::kQ4_0, {2, 64}).AddTensor("u", DType::kF32, {3});
  const std::string model = writer.Bytes();
  for (uint64_t size = 0; size < model.size(); ++size) ExpectTruncated(folder, model, size);
  EXPECT_TRUE(GgufFile::Open(folder.Write("whole.gguf", model)).ok());
}

TEST(GgufRobustness, MutatedHeader) {
  const TempFolder folder;
  GgufWriter writer;
  writer.AddString("general.architecture", "llama").AddU32("general.alignment", 32);
  writer.Add("tokens", MetaType::kArray, RawArray({"<s>", "a", "bc"}));
  writer.Add("scores", MetaType::kArray, RawArray<float>(MetaType::kF32, {0, -1, -2}));
  writer.Add("nested", MetaType::kArray,
             RawArray(MetaType::kArray, 1, RawArray<uint8_t>(MetaType::kBool, {1, 0})));
  writer.AddTensor("t", DType::kQ4_0, {2, 64}).AddTensor("u", DType::kF32, {3});
  writer.AddTensor("v", DType::kQ4_K, {1, 2, 3, 256});
  const std::string small = writer.Bytes();
  const uint64_t small_header = writer.header_bytes();
  const std::string real = ReadModel();

  std::mt19937_64 random(Seed());
  int opened = 0;
  int refused = 0;
  for (int i = 0; i < 1000; ++i) {
    std::string model = i % 10 == 0 ? real : small;
    const uint64_t header = i % 10 == 0 ? 14176 : small_header;
    for (uint64_t change = random() % 3 + 1; change > 0; --change) {
      char& byte = model[random() % header];
      // A flipped bit, any byte, or a byte of the huge numbers that overflow things.
      const int kind = static_cast<int>(random() % 3);
      if (kind == 0) byte = static_cast<char>(byte ^ (1 << random() % 8));
      if (kind == 1) byte = static_cast<char>(random());
      if (kind == 2) byte = random() % 2 == 0 ? '\xff' : '\0';
    }
    const absl::StatusOr<GgufFile> file = GgufFile::Open(folder.Write("mutant.gguf", model));
    if (file.ok()) {
      ++opened;
      EXPECT_GT(Touch(*file), 0u);
    } else {
      ++refused;
      EXPECT_NE(file.status().message().find("byte "), absl::string_view::npos);
      EXPECT_NE(file.status().code(), absl::StatusCode::kInternal);
    }
  }
  EXPECT_GT(opened, 0);
  EXPECT_GT(refused, 0);
}

TEST(GgufRobustness, RandomBytesBehindTheMagic) {
  const TempFolder folder;
  std::mt19937_64 random(Seed());
  for (int i = 0; i < 200; ++i) {
    std::string bytes = "GGUF" + Raw<uint32_t>(3) + Raw<uint64_t>(2) + Raw<uint64_t>(3);
    for (int j = 0; j < 64; ++j) {
      bytes += Raw<uint64_t>(random() % 3 == 0 ? random() : random() % 14);
    }
    const absl::StatusOr<GgufFile> file = GgufFile::Open(folder.Write("noise.gguf", bytes));
    if (file.ok()) {
      EXPECT_GT(Touch(*file), 0u);
    } else {
      EXPECT_NE(file.status().message().find("byte "), absl::string_view::npos);
    }
  }
}

// Large and legal: the work grows with the entries, not with their square.
TEST(GgufRobustness, ManyTensors) {
  const TempFolder folder;
  constexpr uint64_t kTensors = 100000;
  GgufWriter writer;
  writer.alignment = 8;
  writer.AddU32("general.alignment", 8);
  for (uint64_t i = 0; i < kTensors; ++i) {
    writer.AddTensor("t" + std::to_string(i), DType::kI8, {8}, "12345678");
  }
  const std::string path = folder.Write("many.gguf", writer.Bytes());
  const std::clock_t start = std::clock();
  const absl::StatusOr<GgufFile> file = GgufFile::Open(path);
  const double seconds = SecondsSince(start);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->tensors().size(), kTensors);
  EXPECT_EQ(file->FindTensor("t99999"), &file->tensors()[99999]);
  EXPECT_LT(seconds, 5.0);
  std::cout << kTensors << " tensors: " << seconds << " s" << std::endl;
}

// Large and hostile: names that are all the same, metadata of the smallest size.
TEST(GgufRobustness, ManySmallThingsEndEarly) {
  const TempFolder folder;
  constexpr uint64_t kCount = 65536;
  std::string bytes = "GGUF" + Raw<uint32_t>(3) + Raw<uint64_t>(0) + Raw<uint64_t>(kCount);
  const std::string entry = RawString("") + Raw<uint32_t>(0) + "x";
  for (uint64_t i = 0; i < kCount; ++i) bytes += entry;
  const std::clock_t start = std::clock();
  EXPECT_EQ(std::string(GgufFile::Open(folder.Write("a.gguf", bytes)).status().message()),
            folder.File("a.gguf") +
                ": byte 37: metadata 2 of 65536: expected every key once, got '' again, which is "
                "metadata 1 too");
  EXPECT_LT(SecondsSince(start), 5.0);
}

// A vocabulary larger than any real one costs one pass and one allocation.
TEST(GgufRobustness, LargeVocabulary) {
  const TempFolder folder;
  constexpr uint64_t kTokens = 300000;
  std::string tokens;
  for (uint64_t i = 0; i < kTokens; ++i) tokens += RawString("token" + std::to_string(i));
  GgufWriter writer;
  writer.Add("tokens", MetaType::kArray, RawArray(MetaType::kString, kTokens, tokens));
  const std::string path = folder.Write("v.gguf", writer.Bytes());
  const std::clock_t start = std::clock();
  const absl::StatusOr<GgufFile> file = GgufFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.status();
  const std::vector<std::string_view> views = file->GetStringArray("tokens").value();
  const double seconds = SecondsSince(start);
  ASSERT_EQ(views.size(), kTokens);
  EXPECT_EQ(views[123456], "token123456");
  EXPECT_LT(seconds, 5.0);
  std::cout << kTokens << " tokens: " << seconds << " s" << std::endl;
}

}  // namespace
}  // namespace renga
