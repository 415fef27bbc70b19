#include "runtime/memory/weights.h"

#include <filesystem>
#include <numeric>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/output_file.h"
#include "ir/base/strings.h"

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

TEST_F(WeightStoreTest, BytesOfNoTensorMayChange) {
  content_[0] ^= 1;
  Write("models/model.gguf", content_);
  EXPECT_TRUE(Open().ok());
}

}  // namespace
}  // namespace renga
