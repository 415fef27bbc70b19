// Tensor maps in plans: on disk, printed, checked, packed.
#include "runtime/plan/tensor_map.h"

#include <cstring>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/strings.h"
#include "runtime/plan/launch.h"
#include "runtime/plan/layout.h"
#include "runtime/plan/print.h"
#include "runtime/plan/serialize.h"
#include "runtime/plan/validate.h"
#include "tests/runtime/plan/sample_gpu_plan.h"

namespace renga::plan {
namespace {

using ::testing::HasSubstr;

absl::Span<const uint8_t> Bytes(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// In SampleGpuPlan, for sm_90a alone: buffer half, f16[T,32], in tiles of 64 x 16. T is 4 at most.
Plan MapPlan() {
  Plan plan = SampleGpuPlan();
  plan.target = "sm_90a";
  plan.gpu.targets.erase(plan.gpu.targets.begin());
  for (GpuKernel& kernel : plan.gpu.kernels) {
    kernel.images.erase(kernel.images.begin());
    kernel.images[0].target = 0;
  }
  plan.steps[2].variants[1].launches[1].args[0] = {
      .kind = ArgKind::kTensorMap,
      .name = "map",
      .buffer = 12,
      .map = {.type = DType::kF16,
              .axes = {{.size = Constant(32), .tile = 64},
                       {.size = SymbolValue(0), .stride = 64, .tile = 16}},
              .swizzle = Swizzle::k128Bytes}};
  return plan;
}
Launch& LaunchOf(Plan& plan) { return plan.steps[2].variants[1].launches[1]; }
Arg& ArgOf(Plan& plan) { return LaunchOf(plan).args[0]; }

TEST(TensorMaps, ComeBackFromTheFileAndPrint) {
  const Plan plan = MapPlan();
  ASSERT_TRUE(Validate(plan).ok()) << Validate(plan);
  const absl::StatusOr<std::string> file = Serialize(plan);
  ASSERT_TRUE(file.ok()) << file.status();
  const absl::StatusOr<Plan> read = Deserialize(Bytes(*file), "a.plan");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_TRUE(*read == plan);
  EXPECT_THAT(PrintStep(plan, 2),
              HasSubstr("(map=%half as f16[T,32] in tiles of 16x64, swizzled, y=%y, count=T * 8)"));
}

// The struct that a C++ compiler makes of the same fields.
TEST(TensorMaps, ArePackedLikeAStruct) {
  struct alignas(kTensorMapAlignment) Map {
    uint8_t bytes[kTensorMapBytes];
  };
  struct Args {
    int32_t before;
    Map map;
    const void* y;
    int32_t tokens;
  };
  Plan plan = MapPlan();
  const std::vector<Arg> args = {{ArgKind::kInt32, "before", -1, 0, Constant(7)},
                                 ArgOf(plan),
                                 {ArgKind::kPointer, "y", 1, 0},
                                 {ArgKind::kInt32, "tokens", -1, 0, SymbolValue(0)}};
  EXPECT_EQ(ArgumentBytes(args), sizeof(Args));
  std::vector<uint64_t> addresses(14, 0);
  addresses[1] = 0x5000;
  addresses[12] = 0x1000;
  TensorMapSpec got;
  const auto encode = [&](const TensorMapSpec& spec) -> absl::StatusOr<EncodedTensorMap> {
    got = spec;
    EncodedTensorMap map;
    map.fill(0xab);
    return map;
  };
  const auto block = PackArguments(args, addresses, {3}, encode);
  ASSERT_TRUE(block.ok()) << block.status();
  ASSERT_EQ(block->size(), sizeof(Args));
  Args packed;
  std::memcpy(&packed, block->data(), sizeof(packed));
  EXPECT_EQ(packed.before, 7);
  EXPECT_EQ(packed.tokens, 3);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(packed.y), 0x5000u);
  for (const uint8_t byte : packed.map.bytes) EXPECT_EQ(byte, 0xab);
  EXPECT_EQ(got, (TensorMapSpec{.address = 0x1000,
                                .type = DType::kF16,
                                .axes = 2,
                                .sizes = {32, 3, 1},
                                .strides = {0, 64, 0},
                                .tile = {64, 16, 1},
                                .swizzle = Swizzle::k128Bytes}));
}

TEST(TensorMaps, PackingSaysWhatIsMissing) {
  Plan plan = MapPlan();
  const std::vector<Arg> args = {ArgOf(plan)};
  const std::vector<uint64_t> addresses(14, 64);
  const absl::Status no_encoder = PackArguments(args, addresses, {3}).status();
  EXPECT_EQ(no_encoder.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(ToStd(no_encoder.message()),
              HasSubstr("argument map: expected a device that encodes tensor maps"));
  const auto fails = [](const TensorMapSpec&) -> absl::StatusOr<EncodedTensorMap> {
    return absl::InternalError("the driver's reason");
  };
  EXPECT_THAT(ToStd(PackArguments(args, addresses, {3}, fails).status().message()),
              HasSubstr("argument map: the driver's reason"));
  EXPECT_THAT(ToStd(PackArguments(args, {64}, {3}, fails).status().message()),
              HasSubstr("argument map: expected a buffer 0..1, got 12"));
}

struct Fault {
  const char* name;
  void (*damage)(Plan& plan);
  const char* message;
};
std::ostream& operator<<(std::ostream& out, const Fault& fault) { return out << fault.name; }

class TensorMapFault : public ::testing::TestWithParam<Fault> {};

TEST_P(TensorMapFault, SaysWhereExpectedAndGot) {
  Plan plan = MapPlan();
  GetParam().damage(plan);
  const absl::Status status = Validate(plan);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(ToStd(status.message()), HasSubstr("add_2: argument map"));
  EXPECT_THAT(ToStd(status.message()), HasSubstr(GetParam().message));
}

const Fault kFaults[] = {
    {"Target", [](Plan& p) { p.gpu.targets[0].sm = 89; },
     "map: expected no tensor map for a target below sm_90, got sm_90a"},
    {"Buffer", [](Plan& p) { ArgOf(p).buffer = 9; },
     "map: expected an input, output or scratch buffer of the step, got 9"},
    {"Offset", [](Plan& p) { ArgOf(p).offset = 256; },
     "map: offset: expected one inside 256 bytes, got 256"},
    {"Start", [](Plan& p) { ArgOf(p).offset = 8; },
     "map: start: expected a multiple of 16 bytes, got 8"},
    {"AxesNone", [](Plan& p) { ArgOf(p).map.axes.clear(); }, "map: axes: expected 2 or 3, got 0"},
    {"AxesFour", [](Plan& p) { ArgOf(p).map.axes.resize(4); }, "map: axes: expected 2 or 3, got 4"},
    {"Type", [](Plan& p) { ArgOf(p).map.type = DType::kQ8_0; },
     "map: type: expected f16, bf16 or f32, got q8_0"},
    {"SizeZero", [](Plan& p) { ArgOf(p).map.axes[0].size = Constant(0); },
     "map: size: expected 1..4294967296, got 0"},
    {"SizeLarge", [](Plan& p) { ArgOf(p).map.axes[1].size = Constant((int64_t{1} << 32) + 1); },
     "map: size: expected 1..4294967296, got 4294967297"},
    {"SizeMalformed", [](Plan& p) { ArgOf(p).map.axes[1].size.terms.clear(); },
     "map: expression: expected 1 to 32 terms, got 0"},
    {"StrideZero", [](Plan& p) { ArgOf(p).map.axes[1].stride = 0; },
     "map: stride: expected a multiple of 16 bytes below 1099511627776, got 0"},
    {"StrideOdd", [](Plan& p) { ArgOf(p).map.axes[1].stride = 72; },
     "map: stride: expected a multiple of 16 bytes below 1099511627776, got 72"},
    {"StrideLarge", [](Plan& p) { ArgOf(p).map.axes[1].stride = uint64_t{1} << 40; },
     "map: stride: expected a multiple of 16 bytes below 1099511627776, got 1099511627776"},
    {"StrideOfTheFirst", [](Plan& p) { ArgOf(p).map.axes[0].stride = 16; },
     "map: stride: expected none of the fastest axis, got 16"},
    {"TileZero", [](Plan& p) { ArgOf(p).map.axes[1].tile = 0; },
     "map: tile: expected 1..256 elements along an axis, got 0"},
    {"TileLarge", [](Plan& p) { ArgOf(p).map.axes[1].tile = 257; },
     "map: tile: expected 1..256 elements along an axis, got 257"},
    {"TileRow",
     [](Plan& p) {
       ArgOf(p).map.axes[0].tile = 12;
       ArgOf(p).map.swizzle = Swizzle::kNone;
     },
     "map: row of a tile: expected a multiple of 16 bytes, got 24"},
    {"SwizzledRow", [](Plan& p) { ArgOf(p).map.axes[0].tile = 32; },
     "map: row of a swizzled tile: expected 128 bytes, got 64"},
    {"WiderThanTheBuffer", [](Plan& p) { ArgOf(p).map.axes[0].size = Constant(33); },
     "map: tensor: expected one inside 256 bytes, got 258"},
    {"MoreRowsThanTheBuffer",
     [](Plan& p) { ArgOf(p).map.axes[1].size = SymbolValue(0) + Constant(1); },
     "map: tensor: expected one inside 256 bytes, got 320"},
    {"BehindAnOffset", [](Plan& p) { ArgOf(p).offset = 16; },
     "map: tensor: expected one inside 240 bytes, got 256"},
    {"FurtherThanAnyMemory",
     [](Plan& p) {
       ArgOf(p).map.axes[1].size = Constant(int64_t{1} << 32);
       ArgOf(p).map.axes[1].stride = (uint64_t{1} << 40) - 16;
     },
     "map: tensor: expected one inside 256 bytes, got 140737488355329"},
};
INSTANTIATE_TEST_SUITE_P(All, TensorMapFault, ::testing::ValuesIn(kFaults),
                         [](const auto& info) { return std::string(info.param.name); });

// Bytes changed anywhere in the file, with a digest that fits: read or refused, and what is read
// can be launched without harm.
TEST(TensorMaps, SurviveChangedBytes) {
  const std::string file = Serialize(MapPlan()).value();
  const std::string body = file.substr(0, file.size() - kTrailerBytes);
  const auto encode = [](const TensorMapSpec& spec) -> absl::StatusOr<EncodedTensorMap> {
    EXPECT_TRUE(CheckTensorMap(spec).ok()) << CheckTensorMap(spec);
    EXPECT_LE(ExtentBytes(spec), 256u);
    return EncodedTensorMap{};
  };
  int packed = 0;
  for (size_t at = 0; at < body.size(); ++at) {
    for (const int bits : {0xff, 0x01, 0x80}) {
      std::string changed = body;
      changed[at] = static_cast<char>(changed[at] ^ bits);
      const std::string sealed = Seal(changed);
      const absl::StatusOr<Plan> plan = Deserialize(Bytes(sealed), "x.plan");
      if (!plan.ok()) continue;
      PrintPlan(*plan);
      const std::vector<uint64_t> addresses(plan->buffers.size(), 0x1000);
      for (const Step& step : plan->steps) {
        for (const Variant& variant : step.variants) {
          std::vector<int64_t> symbols = MaxSymbols(*plan);
          symbols[step.chosen_by] = variant.last;
          for (const Launch& launch : variant.launches) {
            packed += PackArguments(launch.args, addresses, symbols, encode).ok();
          }
        }
      }
    }
  }
  EXPECT_GT(packed, 1000);
}

}  // namespace
}  // namespace renga::plan
