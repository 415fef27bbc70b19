// What looks wrong and is right must not be blamed.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/faults/zoo/zoo.h"
#include "tests/support/biased_keys_model.h"
#include "tests/tools/process.h"

namespace renga::faults {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

void Scale(TinyModel& model, const std::string& name, float factor, float add = 0) {
  std::string& data = model.Tensor(name).data;
  std::vector<float> values(data.size() / sizeof(float));
  std::memcpy(values.data(), data.data(), data.size());
  for (float& value : values) value = value * factor + add;
  std::memcpy(data.data(), values.data(), data.size());
}

// verify and lint find nothing, fused or not.
void ExpectNothing(TinyModel& model) {
  const std::string path = model.Write();
  for (const bool fused : {true, false}) {
    ZooOptions options;
    options.fused = fused;
    const auto verdict = VerifyWith(path, {}, options);
    ASSERT_TRUE(verdict.ok()) << verdict.status();
    EXPECT_THAT(Named(verdict->nodes), IsEmpty());
    EXPECT_THAT(verdict->nodes.model, IsEmpty());
    EXPECT_LT(verdict->nodes.worst_share, 0.7) << verdict->nodes.worst;
  }
  const ProcessResult verify = Renga({"verify", path, "--ids", "1,4,2,6,3,5", "--device", "cpu"});
  EXPECT_EQ(verify.exit_code, 0) << verify.Describe();
  const ProcessResult lint = Renga({"lint", path});
  EXPECT_THAT(lint.out, Not(HasSubstr("certain  "))) << lint.out;
  EXPECT_THAT(lint.out, Not(HasSubstr("likely  "))) << lint.out;
}

TinyModel Small(int64_t vocab = TinyModel().vocab) {
  TinyModel model;
  model.vocab = vocab;
  model.architecture = "qwen2";
  model.embedding = 24;
  model.heads = 3;
  model.head_dim = 8;
  model.hidden = 40;
  model.Fill();
  return model;
}

// Scores some hundreds apart: all but one probability are below 1e-18.
TEST(Negatives, N29ProbabilitiesThatPrintAsZero) {
  TinyModel model = Small();
  for (const std::string layer : {"0", "1"}) {
    Scale(model, "blk." + layer + ".attn_q.weight", 12);
    Scale(model, "blk." + layer + ".attn_k.weight", 12);
  }
  float least = 1;
  const std::vector<float> probs = ValueOf(model.Write(), "0.probs").value();
  for (const float p : probs) least = p > 0 ? std::min(least, p) : least;
  EXPECT_LT(least, 1e-18f);
  ExpectNothing(model);
}

TEST(Negatives, N30ALargeNorm) {
  TinyModel model = Small();
  Scale(model, "output_norm.weight", 1, 7);
  ExpectNothing(model);
}

// Biases of keys up to 60, of queries to 34: scores beyond a hundred.
TEST(Negatives, N31LargeQueriesAndScores) {
  TinyModel model = BiasedKeysModel();
  for (const std::string layer : {"0", "1"}) Scale(model, "blk." + layer + ".attn_q.bias", 34);
  EXPECT_GT(LargestOf(ValueOf(model.Write(), "0.q").value()), 30);
  EXPECT_GT(LargestOf(ValueOf(model.Write(), "0.scores").value()), 125);
  ExpectNothing(model);
}

// Square, so that nothing but the values could tell: GGUF lists [width, tokens], fastest first.
TEST(Negatives, N32AnEmbeddingThatLooksTransposed) {
  TinyModel model = Small(/*vocab=*/24);
  EXPECT_EQ(model.Tensor("token_embd.weight").ne, (std::vector<uint64_t>{24, 24}));
  ExpectNothing(model);
}

}  // namespace
}  // namespace renga::faults
