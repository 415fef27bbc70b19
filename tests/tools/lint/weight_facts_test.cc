// What the pass over the weights finds, where a tensor has many pieces of work.
#include "tools/lint/weight_facts.h"

#include <cmath>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/gguf_writer.h"
#include "tests/support/temp_folder.h"
#include "tools/lint/scale_places.h"

namespace renga {
namespace {

// Two pieces of 2^18 elements and a rest that is no whole stretch.
constexpr int64_t kElements = (int64_t{2} << 18) + 1000;

std::string Floats(const std::vector<float>& values) {
  return std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
}

std::vector<float> Numbers() {
  std::vector<float> values(kElements);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 977) + 1;
  return values;
}

std::vector<WeightFacts> Read(GgufWriter writer, int threads) {
  const TempFolder folder;
  const auto file = GgufFile::Open(folder.Write("x.gguf", writer.Bytes()));
  EXPECT_TRUE(file.ok()) << file.status();
  if (!file.ok()) return {};
  const auto facts = ReadWeightFacts(*file, {.threads = threads, .progress = {}});
  EXPECT_TRUE(facts.ok()) << facts.status();
  return facts.ok() ? *facts : std::vector<WeightFacts>();
}

TEST(WeightFacts, PiecesAddUpWhateverTheThreads) {
  std::vector<float> values = Numbers();
  const int64_t from = (int64_t{1} << 18) - 512, to = (int64_t{2} << 18) + 256;
  for (int64_t i = from; i < to; ++i) values[i] = 0;  // all of the second piece, and around it
  values[300000] = -0.0f;
  values[7] = std::numeric_limits<float>::infinity();
  values[kElements - 1] = std::nanf("");
  values[kElements - 2] = 0;
  GgufWriter writer;
  writer.AddTensor("a", DType::kF32, {kElements}, Floats(values));
  writer.AddTensor("b", DType::kF32, {kElements}, Floats(values));
  writer.AddTensor("c", DType::kF32, {kElements}, Floats(Numbers()));
  for (const int threads : {1, 3}) {
    const std::vector<WeightFacts> facts = Read(writer, threads);
    ASSERT_EQ(facts.size(), 3u);
    EXPECT_EQ(facts[0].elements, kElements);
    EXPECT_EQ(facts[0].zeros, to - from + 1);
    EXPECT_EQ(facts[0].zero_run, to - from);
    EXPECT_EQ(facts[0].zero_run_at, from);
    EXPECT_EQ(facts[0].nans, 1);
    EXPECT_EQ(facts[0].infinities, 1);
    EXPECT_EQ(facts[0].first_not_finite, 7);
    EXPECT_FALSE(facts[0].constant);
    EXPECT_EQ(facts[0].digest, facts[1].digest);
    EXPECT_NE(facts[0].digest, facts[2].digest);
    EXPECT_EQ(facts[2].zeros, 0);
    EXPECT_EQ(facts[2].first_not_finite, -1);
  }
}

TEST(WeightFacts, ConstantOnlyIfAllPiecesAgree) {
  std::vector<float> values(kElements, 2.5f);
  GgufWriter writer;
  writer.AddTensor("same", DType::kF32, {kElements}, Floats(values));
  for (int64_t i = int64_t{1} << 18; i < kElements; ++i) values[i] = 3;
  writer.AddTensor("steps", DType::kF32, {kElements}, Floats(values));
  writer.AddTensor("zero", DType::kF32, {kElements}, Floats(std::vector<float>(kElements)));
  writer.AddTensor("ids", DType::kI64, {3});
  const std::vector<WeightFacts> facts = Read(writer, 2);
  ASSERT_EQ(facts.size(), 4u);
  EXPECT_TRUE(facts[0].constant);
  EXPECT_EQ(facts[0].first, 2.5f);
  EXPECT_FALSE(facts[0].all_zero());
  EXPECT_FALSE(facts[1].constant);
  EXPECT_TRUE(facts[2].all_zero());
  EXPECT_EQ(facts[2].zero_run, kElements);
  EXPECT_FALSE(facts[3].decoded);
  EXPECT_FALSE(facts[3].constant);
  EXPECT_FALSE(facts[3].all_zero());
  EXPECT_EQ(facts[3].elements, 3);
}

// The table of scale_places against the decoders: a block with quants and scales of all ones and
// nothing but this f16 as NaN decodes to NaN somewhere.
TEST(WeightFacts, ScalesAreWhereTheDecodersHaveThem) {
  int types = 0;
  for (const DTypeInfo& info : AllDTypes()) {
    const ScalePlace* place = FindScalePlace(info.type);
    if (place == nullptr) continue;
    ++types;
    std::string block(info.block_bytes, '\x11');
    block[place->scale_at] = '\0';
    block[place->scale_at + 1] = '\x7e';
    ASSERT_LE(place->quants_at + place->quants_bytes, info.block_bytes) << info.name;
    // The scale is outside the quants.
    EXPECT_TRUE(place->scale_at + 2 <= place->quants_at ||
                place->scale_at >= place->quants_at + place->quants_bytes)
        << info.name;
    GgufWriter writer;
    writer.AddTensor("x", info.type, {info.block_elements}, block);
    const std::vector<WeightFacts> facts = Read(writer, 1);
    ASSERT_EQ(facts.size(), 1u);
    EXPECT_EQ(facts[0].nans, info.block_elements) << info.name;
    EXPECT_EQ(facts[0].bad_scales, 1) << info.name;
    EXPECT_EQ(facts[0].lost_blocks, 0) << info.name;
  }
  EXPECT_EQ(types, 20);
}

TEST(WeightFacts, CanBeStopped) {
  const TempFolder folder;
  GgufWriter writer;
  writer.AddTensor("x", DType::kF32, {kElements}, Floats(Numbers()));
  const auto file = GgufFile::Open(folder.Write("x.gguf", writer.Bytes()));
  ASSERT_TRUE(file.ok());
  const auto stop = [](int64_t, int64_t) { return false; };
  EXPECT_EQ(ReadWeightFacts(*file, {.threads = 2, .progress = stop}).status().code(),
            absl::StatusCode::kCancelled);
}

TEST(WeightFacts, AFileCutOffMeanwhileIsAnError) {
  const TempFolder folder;
  GgufWriter writer;
  writer.AddTensor("x", DType::kF32, {kElements}, Floats(Numbers()));
  const std::string path = folder.Write("x.gguf", writer.Bytes());
  const auto file = GgufFile::Open(path);
  ASSERT_TRUE(file.ok());
  std::filesystem::resize_file(path, 5000);
  EXPECT_EQ(ReadWeightFacts(*file, {.threads = 2, .progress = {}}).status().code(),
            absl::StatusCode::kOutOfRange);
}

}  // namespace
}  // namespace renga
