// What the driver is given for a tensor map.
#include "runtime/device/cuda/tensor_map.h"

#include <cstring>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/status.h"
#include "tests/runtime/cuda/fake_driver.h"

namespace renga::cuda {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

plan::TensorMapSpec Spec() {
  return {.address = 0x4000,
          .type = DType::kBF16,
          .axes = 3,
          .sizes = {100, 7, 3},
          .strides = {0, 208, 2080},
          .tile = {64, 5, 2},
          .swizzle = plan::Swizzle::k128Bytes};
}

absl::StatusOr<ContextRef> OpenFake() {
  RENGA_ASSIGN_OR_RETURN(const auto driver, Driver::Load(FakeFile("fake_driver")));
  return Context::Open(driver, 0);
}

TEST(CudaTensorMap, TheDriverGetsEveryValue) {
  FakeDriver fake;
  plan::TensorMapEncoder encode;
  {
    const auto context = OpenFake();
    ASSERT_TRUE(context.ok()) << context.status();
    encode = TensorMapEncoderOf(*context);
  }
  const auto map = encode(Spec());  // which keeps the context
  ASSERT_TRUE(map.ok()) << map.status();
  uint64_t values[plan::kTensorMapBytes / sizeof(uint64_t)];
  std::memcpy(values, map->data(), sizeof(values));
  // CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 is 9; not interleaved, 128-byte swizzle (3), 128 bytes to L2
  // (2), zeros outside.
  EXPECT_THAT(values, ElementsAre(9, 3, 0x4000, 100, 7, 3, 208, 2080, 64, 5, 2, 0, 3, 2, 0, 0));
}

TEST(CudaTensorMap, TypesAndSwizzlesAreTheDriversNumbers) {
  FakeDriver fake;
  const auto context = OpenFake();
  ASSERT_TRUE(context.ok()) << context.status();
  for (const auto& [type, number] : {std::pair{DType::kF16, 6}, std::pair{DType::kF32, 7}}) {
    plan::TensorMapSpec spec = Spec();
    spec.type = type;
    spec.axes = 2;
    spec.swizzle = plan::Swizzle::kNone;
    const auto map = EncodeTensorMap(**context, spec);
    ASSERT_TRUE(map.ok()) << map.status();
    uint64_t values[plan::kTensorMapBytes / sizeof(uint64_t)];
    std::memcpy(values, map->data(), sizeof(values));
    EXPECT_THAT(values, ElementsAre(number, 2, 0x4000, 100, 7, 208, 64, 5, 0, 0, 2, 0, 0, 0, 0, 0));
  }
}

TEST(CudaTensorMap, ErrorsSayWhat) {
  FakeDriver fake;
  const auto context = OpenFake();
  ASSERT_TRUE(context.ok()) << context.status();
  plan::TensorMapSpec spec = Spec();
  spec.type = DType::kQ4_K;
  EXPECT_THAT(std::string(EncodeTensorMap(**context, spec).status().message()),
              HasSubstr("tensor map: type: expected f16, bf16 or f32, got q4_k"));
  fake.FailAt(fake.calls() + 1, 1);
  const absl::Status failed = EncodeTensorMap(**context, Spec()).status();
  EXPECT_EQ(failed.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(failed.message()), HasSubstr("cuTensorMapEncodeTiled"));
}

}  // namespace
}  // namespace renga::cuda
