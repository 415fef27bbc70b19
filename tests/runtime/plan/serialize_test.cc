#include "runtime/plan/serialize.h"

#include <filesystem>
#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/output_file.h"
#include "ir/base/strings.h"
#include "tests/runtime/plan/sample_plan.h"
#include "tests/support/test_seed.h"

namespace renga::plan {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

absl::Span<const uint8_t> Bytes(std::string_view text) {
  return absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(text.data()), text.size());
}

std::string Sealed(const Plan& plan) { return Serialize(plan).value(); }

std::string_view Message(const absl::Status& status) { return ToStd(status.message()); }

TEST(Serialize, EveryFieldComesBack) {
  const Plan plan = SamplePlan();
  const std::string file = Sealed(plan);
  const absl::StatusOr<Plan> read = Deserialize(Bytes(file), "a.plan");
  ASSERT_TRUE(read.ok()) << read.status();
  // By part, so that a failure says which.
  EXPECT_EQ(read->target, plan.target);
  EXPECT_EQ(read->producer, plan.producer);
  EXPECT_EQ(read->model, plan.model);
  EXPECT_EQ(read->tokenizer, plan.tokenizer);
  EXPECT_EQ(read->files, plan.files);
  EXPECT_EQ(read->ignored, plan.ignored);
  EXPECT_EQ(read->geometry, plan.geometry);
  EXPECT_EQ(read->symbols, plan.symbols);
  EXPECT_EQ(read->inputs, plan.inputs);
  EXPECT_EQ(read->outputs, plan.outputs);
  EXPECT_EQ(read->weights, plan.weights);
  EXPECT_EQ(read->caches, plan.caches);
  EXPECT_EQ(read->buffers, plan.buffers);
  EXPECT_EQ(read->kernels, plan.kernels);
  EXPECT_EQ(read->steps, plan.steps);
  EXPECT_EQ(read->memory, plan.memory);
  EXPECT_EQ(read->passes, plan.passes);
  EXPECT_EQ(read->ledger, plan.ledger);
  EXPECT_EQ(read->choices, plan.choices);
  EXPECT_TRUE(*read == plan);
  EXPECT_EQ(Sealed(*read), file);
}

TEST(Serialize, ReadsFromAnUnalignedAddress) {
  const std::string file = "x" + Sealed(SamplePlan());
  EXPECT_TRUE(Deserialize(Bytes(file).subspan(1), "a.plan").ok());
}

TEST(Serialize, IsPlanFileLooksAtBothEnds) {
  const std::string file = Sealed(SamplePlan());
  EXPECT_TRUE(IsPlanFile(Bytes(file)));
  EXPECT_TRUE(IsPlanFile(Bytes(file.substr(0, 100))));
  EXPECT_TRUE(IsPlanFile(Bytes(file.substr(100))));
  EXPECT_FALSE(IsPlanFile(Bytes("GGUF............................................")));
  EXPECT_FALSE(IsPlanFile(Bytes("")));
}

TEST(Serialize, AQwenSizedPlanStaysBelow5MB) {
  Plan plan = SamplePlan();
  constexpr int kVocab = 151936;
  TokenizerData& tokenizer = plan.tokenizer;
  tokenizer.scores.clear();
  tokenizer.text.clear();
  tokenizer.offsets = {0};
  for (int i = 0; i < kVocab; ++i) {
    tokenizer.text += StrCat("tok", i).substr(0, 6 + i % 3);  // 6.4 bytes on average in Qwen's
    tokenizer.offsets.push_back(static_cast<uint32_t>(tokenizer.text.size()));
    if (i < 151387) tokenizer.merges.emplace_back(i, i / 2);
  }
  tokenizer.types.assign(kVocab, TokenType::kNormal);
  for (int i = 0; i < 700; ++i) {
    Step step = plan.steps[2];
    step.name = StrCat(i, ".some_projection");
    step.provenance = {step.name, StrCat(i, ".other")};
    plan.steps.insert(plan.steps.begin() + 3, step);
    Weight weight = plan.weights[0];
    weight.source.name = StrCat("blk.", i, ".weight");
    plan.weights.push_back(weight);
    plan.ir +=
        StrCat("  %", i,
               ".attn_norm: f32[T,896] = rms_norm(%embed, @blk.0.attn_norm.weight) {eps=1e-06}\n");
  }
  plan.source_ir = plan.ir;
  plan.memory = ComputeMemory(plan);
  const std::string file = Sealed(plan);
  EXPECT_LT(file.size(), size_t{5} << 20);
  EXPECT_TRUE(Deserialize(Bytes(file), "qwen.plan").ok());
}

TEST(Deserialize, TellsDamageTruncationAndOtherFilesApart) {
  const std::string file = Sealed(SamplePlan());
  std::string flipped = file;
  flipped[file.size() / 2] ^= 4;
  absl::Status status = Deserialize(Bytes(flipped), "x.plan").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(Message(status), AllOf(StartsWith("x.plan: damaged: digest "),
                                     HasSubstr(", expected "), HasSubstr("; compile it again")));
  status = Deserialize(Bytes(file.substr(0, file.size() - 1)), "x.plan").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(Message(status), HasSubstr("a file cut at"));
  status = Deserialize(Bytes("GGUF and so on"), "x.plan").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Message(status), HasSubstr("x.plan: not a plan"));
  EXPECT_EQ(Deserialize({}, "x.plan").status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(Deserialize, RefusesAnotherVersion) {
  const std::string file = Sealed(SamplePlan());
  const std::string body = file.substr(0, file.size() - kTrailerBytes);
  EXPECT_EQ(Seal(body), file);
  const absl::Status status = Deserialize(Bytes(Seal(body, 7)), "x.plan").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(Message(status), HasSubstr("plan format 7, this renga reads 5; compile again"));
}

// Caches may be of a type that GGUF has not; weights come from files, which cannot have it.
TEST(Deserialize, ATypeOfCachesIsNoneOfWeights) {
  Plan plan = SamplePlan();
  ASSERT_FALSE(plan.weights.empty());
  plan.weights[0].source.dtype = DType::kF8_E4M3;
  const absl::Status status = Deserialize(Bytes(Sealed(plan)), "x.plan").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_THAT(Message(status), HasSubstr("weight: unknown element type 228"));
}

TEST(Deserialize, RefusesAnEmptyBody) {
  EXPECT_EQ(Deserialize(Bytes(Seal("")), "x.plan").status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Deserialize(Bytes(Seal(std::string("\4\0\0\0RNGP", 8))), "x.plan").status().code(),
            absl::StatusCode::kInvalidArgument);
}

// A plan with two embedded weights and what their bytes are; `data` is changed by tests.
struct Embedded {
  Plan plan = SamplePlan();
  std::string data = std::string(2 * kPageBytes, 'd');

  Embedded() {
    plan.data_bytes = data.size();
    plan.weights[0].embedded = {kPageBytes, {7, 8}};
    plan.weights[2].embedded = {0, {9, 10}};
  }
  std::string File() const {
    const PlanEnds ends = SerializeEnds(plan).value();
    return ends.head + data + ends.trailer;
  }
};

TEST(Embedded, EveryFieldComesBack) {
  const Embedded embedded;
  const std::string file = embedded.File();
  EXPECT_EQ(file.find(embedded.data) % kPageBytes, 0u);
  const absl::StatusOr<Plan> read = Deserialize(Bytes(file), "a.plan");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_TRUE(*read == embedded.plan);
  EXPECT_EQ(Serialize(*read).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(Embedded, TheDataSectionHasTheSizeThatThePlanSays) {
  Embedded embedded;
  embedded.data.pop_back();
  absl::Status status = Deserialize(Bytes(embedded.File()), "a.plan").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Message(status),
              HasSubstr("data section: expected 8192 bytes of embedded weights, got 8191"));
  embedded.data += "more";
  EXPECT_FALSE(Deserialize(Bytes(embedded.File()), "a.plan").ok());
  embedded.data.clear();
  EXPECT_FALSE(Deserialize(Bytes(embedded.File()), "a.plan").ok());
  // A section that the plan knows nothing of, and a plan that claims one.
  const PlanEnds ends = SerializeEnds(SamplePlan()).value();
  EXPECT_FALSE(
      Deserialize(Bytes(ends.head + std::string(8192, 'd') + ends.trailer), "a.plan").ok());
  const PlanEnds claims = SerializeEnds(Embedded().plan).value();
  EXPECT_FALSE(Deserialize(Bytes(Seal(claims.head)), "a.plan").ok());
}

TEST(Embedded, DamageOfThePlanShowsAndCutsToo) {
  const std::string file = Embedded().File();
  for (const size_t at : {size_t{100}, file.size() - 20, file.size() - 3}) {
    std::string damaged = file;
    damaged[at] ^= 1;
    EXPECT_EQ(Deserialize(Bytes(damaged), "a.plan").status().code(), absl::StatusCode::kDataLoss)
        << at;
  }
  for (const size_t size : {file.size() - 1, file.size() - 5000, size_t{1000}}) {
    EXPECT_EQ(Deserialize(Bytes(file.substr(0, size)), "a.plan").status().code(),
              absl::StatusCode::kDataLoss)
        << size;
  }
}

TEST(LoadPlan, ReadsAFileAndNamesIt) {
  const std::string path = ::testing::TempDir() + "/load_test.plan";
  const std::string file = Sealed(SamplePlan());
  ASSERT_TRUE(WriteFileAtomically(path, {file}).ok());
  EXPECT_TRUE(LoadPlan(path).ok());
  EXPECT_EQ(LoadPlan(path + ".no").status().code(), absl::StatusCode::kNotFound);
  std::filesystem::remove(path);
}

TEST(Deserialize, SurvivesDamagedFiles) {
  const uint32_t seed = TestSeed();
  std::mt19937 random(seed);
  const std::string file = Sealed(SamplePlan());
  for (int i = 0; i < 1000; ++i) {
    std::string damaged = file;
    if (random() % 2 == 0) damaged.resize(random() % file.size());
    const int flips = damaged.size() == file.size() ? 1 + random() % 4 : random() % 4;
    for (int flip = 0; flip < flips && !damaged.empty(); ++flip) {
      damaged[random() % damaged.size()] ^= static_cast<char>(1 << random() % 8);
    }
    if (damaged == file) continue;  // flips that undid each other
    const absl::Status status = Deserialize(Bytes(damaged), "x.plan").status();
    EXPECT_THAT(status.code(),
                ::testing::AnyOf(absl::StatusCode::kDataLoss, absl::StatusCode::kInvalidArgument))
        << status;
  }
}

// The digest is no defence against malice: everything behind it is checked on its own.
TEST(Deserialize, SurvivesMutationsUnderARightDigest) {
  const uint32_t seed = TestSeed();
  std::mt19937 random(seed);
  const std::string file = Sealed(SamplePlan());
  const std::string body = file.substr(0, file.size() - kTrailerBytes);
  int refused = 0;
  for (int i = 0; i < 4000; ++i) {
    std::string mutated = body;
    for (uint32_t change = 0; change < 1 + random() % 3; ++change) {
      const size_t at = random() % mutated.size();
      switch (random() % 3) {
        case 0:
          mutated[at] ^= static_cast<char>(1 << random() % 8);
          break;
        case 1:
          mutated[at] = static_cast<char>(random());
          break;
        default: {  // a number in an aligned place
          const int64_t values[] = {0, -1, 1, int64_t{1} << 31, INT64_MAX, INT64_MIN, 64};
          const int64_t value = values[random() % 7];
          const size_t place = at / 4 * 4;
          std::memcpy(mutated.data() + place, &value,
                      std::min<size_t>(random() % 2 == 0 ? 4 : 8, mutated.size() - place));
        }
      }
    }
    const absl::Status status = Deserialize(Bytes(Seal(mutated)), "x.plan").status();
    if (status.ok()) continue;  // a change that is as good as before
    ++refused;
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_THAT(Message(status), StartsWith("x.plan: "));
  }
  EXPECT_GT(refused, 1000);
}

}  // namespace
}  // namespace renga::plan
