#include "runtime/memory/weights.h"

#include <filesystem>
#include <numeric>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/output_file.h"
#include "ir/base/packing.h"
#include "ir/base/strings.h"
#include "runtime/plan/serialize.h"

namespace renga {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class WeightStoreTest : public ::testing::Test {
 protected:
  WeightStoreTest() : folder_(fs::path(::testing::TempDir()) / "weights_test") {
    fs::remove_all(folder_);
    fs::create_directories(folder_ / "models");
    fs::create_directories(folder_ / "plans");
    content_.resize(4096);
    std::iota(content_.begin(), content_.end(), 0);
    Write("models/model.gguf", content_);
    plan_.files = {{Path("models/model.gguf"), content_.size()}};
    Add("a", 64, 1024);
    Add("b", 2048, 2048);
  }
  ~WeightStoreTest() override { fs::remove_all(folder_); }

  std::string Path(const std::string& name) const { return (folder_ / name).string(); }

  void Write(const std::string& name, const std::string& content) {
    ASSERT_TRUE(WriteFileAtomically(Path(name), {content}).ok());
  }

  void Add(std::string name, uint64_t offset, uint64_t bytes) {
    const Digest digest = DigestOf(std::string_view(content_).substr(offset, bytes));
    plan_.weights.push_back(
        {{std::move(name), DType::kI8, {static_cast<int64_t>(bytes)}, 0, offset, bytes}, digest});
  }

  absl::StatusOr<WeightStore> Open(const std::string& model = "") {
    return WeightStore::Open(plan_, {Path("plans/x.plan"), model, /*threads=*/3});
  }

  fs::path folder_;
  std::string content_;
  plan::Plan plan_;
};

TEST_F(WeightStoreTest, MapsWhereThePlanSays) {
  const absl::StatusOr<WeightStore> store = Open();
  ASSERT_TRUE(store.ok()) << store.status();
  EXPECT_EQ(store->data(0)[5], static_cast<uint8_t>(content_[69]));
  EXPECT_EQ(store->data(1)[2047], static_cast<uint8_t>(content_[4095]));
}

TEST_F(WeightStoreTest, LooksBesideThePlan) {
  fs::rename(Path("models/model.gguf"), Path("plans/model.gguf"));
  EXPECT_TRUE(Open().ok());
}

TEST_F(WeightStoreTest, TakesAnotherPathAndItsParts) {
  fs::create_directories(folder_ / "moved");
  fs::rename(Path("models/model.gguf"), Path("moved/other.gguf"));
  Write("moved/part2.gguf", content_);
  plan_.files.push_back({"/nowhere/part2.gguf", content_.size()});
  plan_.weights[1].source.file = 1;
  const absl::StatusOr<WeightStore> store = Open(Path("moved/other.gguf"));
  ASSERT_TRUE(store.ok()) << store.status();
  EXPECT_EQ(store->data(1)[0], static_cast<uint8_t>(content_[2048]));
}

TEST_F(WeightStoreTest, AMissingFileSaysWhereItWasSought) {
  fs::remove(Path("models/model.gguf"));
  const absl::Status status = Open().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(ToStd(status.message()),
              HasSubstr(StrCat(Path("models/model.gguf"), " or ", Path("plans/model.gguf"))));
}

TEST_F(WeightStoreTest, AnotherSizeIsAChange) {
  Write("models/model.gguf", content_ + "x");
  const absl::Status status = Open().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ToStd(status.message()),
            StrCat(Path("models/model.gguf"), " has changed since ", Path("plans/x.plan"),
                   " was compiled: 4097 bytes, expected 4096; run: renga compile ",
                   Path("models/model.gguf"), " -o ", Path("plans/x.plan")));
}

TEST_F(WeightStoreTest, ADifferentByteNamesTheTensorAndBothDigests) {
  content_[3000] ^= 1;
  Write("models/model.gguf", content_);
  const absl::Status status = Open().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(ToStd(status.message()),
              HasSubstr(StrCat("tensor b: digest ",
                               DigestOf(std::string_view(content_).substr(2048)).ToHex(),
                               ", expected ", plan_.weights[1].digest.ToHex())));
}

// q4_1[2,5,96] at 512: two matrices, each with a group that is not full.
constexpr int64_t kRows = 5, kWidth = 96, kRowBytes = 60, kMatrix = kRows * kRowBytes;

class PackedWeightsTest : public WeightStoreTest {
 protected:
  PackedWeightsTest() {
    plan_.weights.push_back({{"p", DType::kQ4_1, {2, kRows, kWidth}, 0, 512, 2 * kMatrix},
                             DigestOf(std::string_view(content_).substr(512, 2 * kMatrix)),
                             "rows8"});
    for (int64_t m = 0; m < 2; ++m) {
      std::string matrix(8 * kRowBytes, '\0');
      EXPECT_TRUE(Pack(*FindLayout("rows8"), DType::kQ4_1, kRows, kWidth, Bytes(FileBytes(m)),
                       absl::MakeSpan(reinterpret_cast<uint8_t*>(matrix.data()), matrix.size()))
                      .ok());
      packed_ += matrix;
    }
  }

  static absl::Span<const uint8_t> Bytes(std::string_view text) {
    return absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(text.data()), text.size());
  }
  std::string_view FileBytes(int64_t matrix) const {
    return std::string_view(content_).substr(512 + matrix * kMatrix, kMatrix);
  }
  static std::string_view Stored(const WeightStore& store, int index, size_t bytes) {
    return {reinterpret_cast<const char*>(store.data(index)), bytes};
  }
  absl::StatusOr<WeightStore> OpenUnpacked() {
    WeightOptions options;
    options.plan_path = Path("plans/x.plan");
    options.threads = 2;
    options.packed = false;
    return WeightStore::Open(plan_, options);
  }
  // A file that ends as a plan with embedded weights does: "p", then "a", which has the file's
  // layout.
  void Embed(std::string_view p) {
    std::string data(p);
    data.resize(plan::kPageBytes, '\0');
    data += content_.substr(64, 1024);
    data.resize(2 * plan::kPageBytes, '\0');
    Write("plans/x.plan",
          std::string(plan::kPageBytes, 'h') + data + std::string(plan::kTrailerBytes, 't'));
    plan_.weights.erase(plan_.weights.begin() + 1);  // "b" is nowhere but in the model file
    plan_.data_bytes = data.size();
    plan_.weights[0].embedded = {plan::kPageBytes, plan_.weights[0].digest};
    plan_.weights[1].embedded = {0, DigestOf(std::string_view(packed_))};
  }

  std::string packed_;
};

TEST_F(PackedWeightsTest, PacksWhenItLoads) {
  int64_t last = 0, total = 0;
  WeightOptions options;
  options.threads = 3;
  options.progress = [&](int64_t done, int64_t of) {
    EXPECT_GT(done, last);
    last = done;
    total = of;
  };
  const absl::StatusOr<WeightStore> store = WeightStore::Open(plan_, options);
  ASSERT_TRUE(store.ok()) << store.status();
  EXPECT_EQ(Stored(*store, 2, packed_.size()), packed_);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(store->data(2)) % 64, 0u);
  EXPECT_EQ(Stored(*store, 0, 1024), content_.substr(64, 1024));
  EXPECT_EQ(last, 1024 + 2048 + 2 * kMatrix);
  EXPECT_EQ(total, last);
}

TEST_F(PackedWeightsTest, KeepsTheFilesLayoutForThoseWhoWantIt) {
  const absl::StatusOr<WeightStore> store = OpenUnpacked();
  ASSERT_TRUE(store.ok()) << store.status();
  EXPECT_EQ(Stored(*store, 2, 2 * kMatrix), content_.substr(512, 2 * kMatrix));
}

TEST_F(PackedWeightsTest, AChangeOfWhatIsPackedIsFound) {
  content_[512 + 2 * kMatrix - 1] ^= 1;
  Write("models/model.gguf", content_);
  EXPECT_THAT(ToStd(Open().status().message()), HasSubstr("tensor p: digest "));
}

TEST_F(PackedWeightsTest, EmbeddedWeightsNeedNoModelFile) {
  Embed(packed_);
  fs::remove(Path("models/model.gguf"));
  const absl::StatusOr<WeightStore> store = Open();
  ASSERT_TRUE(store.ok()) << store.status();
  EXPECT_EQ(Stored(*store, 0, 1024), content_.substr(64, 1024));
  EXPECT_EQ(Stored(*store, 1, packed_.size()), packed_);
  const absl::StatusOr<WeightStore> unpacked = OpenUnpacked();
  ASSERT_TRUE(unpacked.ok()) << unpacked.status();
  EXPECT_EQ(Stored(*unpacked, 1, 2 * kMatrix), content_.substr(512, 2 * kMatrix));
}

TEST_F(PackedWeightsTest, DamagedEmbeddedWeightsAreNamed) {
  std::string damaged = packed_;
  damaged[100] ^= 1;
  Embed(damaged);
  absl::Status status = Open().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(ToStd(status.message()), HasSubstr("x.plan: damaged: tensor p: digest "));
  Write("plans/x.plan", "cut");
  status = Open().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(ToStd(status.message()),
              HasSubstr("expected 8192 bytes of embedded weights, got a file of 3"));
  fs::remove(Path("plans/x.plan"));
  EXPECT_EQ(Open().status().code(), absl::StatusCode::kNotFound);
}

TEST_F(WeightStoreTest, BytesOfNoTensorMayChange) {
  content_[0] ^= 1;
  Write("models/model.gguf", content_);
  EXPECT_TRUE(Open().ok());
}

}  // namespace
}  // namespace renga
