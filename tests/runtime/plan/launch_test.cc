#include "runtime/plan/launch.h"

#include <cstring>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/strings.h"
#include "runtime/plan/print.h"
#include "runtime/plan/serialize.h"
#include "runtime/plan/validate.h"
#include "tests/runtime/plan/sample_gpu_plan.h"

namespace renga::plan {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

absl::Span<const uint8_t> Bytes(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

TEST(GpuPlan, ComesBackFromItsFile) {
  const Plan plan = SampleGpuPlan();
  ASSERT_TRUE(Validate(plan).ok()) << Validate(plan);
  const absl::StatusOr<std::string> file = Serialize(plan);
  ASSERT_TRUE(file.ok()) << file.status();
  const absl::StatusOr<Plan> read = Deserialize(Bytes(*file), "a.plan");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->gpu, plan.gpu);
  EXPECT_EQ(read->steps, plan.steps);
  EXPECT_TRUE(*read == plan);
}

TEST(GpuPlan, PrintsItsLaunches) {
  const Plan plan = SampleGpuPlan();
  EXPECT_EQ(
      PrintStep(plan, 2),
      R"(step 2 add y (%x, %x) {a_float=1e-06, b_int=-3, c_bool=true, d_name=neox} -> %y: f32[T,8]
    T 1..1      // a token
      add_2<<<(T), 128, 0>>>(a=%x, b=%x, y=%y, tokens=T)
    T 2..4      // several tokens
      rows_1<<<(T), 128, 0>>>(x=%x, y=%half, tokens=T)
      add_2<<<(ceil_div(T * 8, 3), min(T, 2)), 128, 1024 + T * 64>>>(a=%half, y=%y, count=T * 8))");
  EXPECT_THAT(PrintStep(plan, 4), HasSubstr("bias=null, y=%logits, counters=%counters+4, "));
  EXPECT_THAT(PrintPlan(plan), HasSubstr("target sm_80  166912 bytes of shared memory a block\n"));
  EXPECT_THAT(PrintMemory(plan), HasSubstr("persistent                64 bytes"));
}

TEST(ChooseVariant, TakesTheFirstThatServes) {
  const Plan plan = SampleGpuPlan();
  const Step& add = plan.steps[2];
  std::vector<int64_t> symbols = MaxSymbols(plan);
  EXPECT_EQ(ChooseVariant(add, symbols), &add.variants[1]);
  symbols[0] = 2;
  EXPECT_EQ(ChooseVariant(add, symbols), &add.variants[1]);
  symbols[0] = 1;
  EXPECT_EQ(ChooseVariant(add, symbols), &add.variants[0]);
  symbols[0] = 0;
  EXPECT_EQ(ChooseVariant(add, symbols), nullptr);
  symbols[0] = 5;
  EXPECT_EQ(ChooseVariant(add, symbols), nullptr);
  EXPECT_EQ(ChooseVariant(SamplePlan().steps[2], symbols), nullptr);
}

TEST(ShapeOf, EvaluatesGridAndSharedMemory) {
  const Plan plan = SampleGpuPlan();
  std::vector<int64_t> symbols = MaxSymbols(plan);
  symbols[0] = 3;
  const absl::StatusOr<LaunchShape> shape =
      ShapeOf(plan, plan.steps[2].variants[1].launches[1], symbols);
  ASSERT_TRUE(shape.ok()) << shape.status();
  EXPECT_EQ(*shape, (LaunchShape{{8, 2, 1}, 128, 1024 + 192}));
  EXPECT_THAT(MaxDynamicShared(plan), ElementsAre(0, 4096, 0, 2048));
}

// The struct that a C++ compiler makes of the same fields.
TEST(PackArguments, LiesLikeAStruct) {
  struct Args {
    const void* x;
    const void* bias;
    int32_t tokens;
    int64_t count;
    int32_t rows;
  };
  const Expr t = SymbolValue(0);
  const std::vector<Arg> args = {{ArgKind::kPointer, "x", 1, 24},
                                 {ArgKind::kNull, "bias"},
                                 {ArgKind::kInt32, "tokens", -1, 0, t},
                                 {ArgKind::kInt64, "count", -1, 0, t * Constant(1000)},
                                 {ArgKind::kInt32, "rows", -1, 0, Constant(9)}};
  EXPECT_EQ(ArgumentBytes(args), sizeof(Args));
  const auto block = PackArguments(args, {64, 0x1000}, {5});
  ASSERT_TRUE(block.ok()) << block.status();
  ASSERT_EQ(block->size(), sizeof(Args));
  Args got;
  std::memcpy(&got, block->data(), sizeof(got));
  EXPECT_EQ(reinterpret_cast<uintptr_t>(got.x), 0x1000u + 24);
  EXPECT_EQ(got.bias, nullptr);
  EXPECT_EQ(got.tokens, 5);
  EXPECT_EQ(got.count, 5000);
  EXPECT_EQ(got.rows, 9);
  EXPECT_EQ(ArgumentBytes({{ArgKind::kInt32, "only"}}), 4u);
  EXPECT_THAT(ToStd(PackArguments(args, {64}, {5}).status().message()),
              HasSubstr("argument x: expected a buffer 0..1, got 1"));
  const std::vector<Arg> large = {{ArgKind::kInt32, "n", -1, 0, t * Constant(1000)}};
  EXPECT_THAT(ToStd(PackArguments(large, {}, {int64_t{1} << 30}).status().message()),
              HasSubstr("argument n: expected a number below 2^31"));
}

struct Fault {
  const char* name;
  void (*damage)(Plan& plan);
  const char* message;
};
std::ostream& operator<<(std::ostream& out, const Fault& fault) { return out << fault.name; }

class ValidateGpuFault : public ::testing::TestWithParam<Fault> {};

TEST_P(ValidateGpuFault, SaysWhereExpectedAndGot) {
  Plan plan = SampleGpuPlan();
  GetParam().damage(plan);
  const absl::Status status = Validate(plan);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(ToStd(status.message()), HasSubstr(GetParam().message));
}

Launch& SecondAdd(Plan& plan) { return plan.steps[2].variants[1].launches[1]; }

const Fault kFaults[] = {
    {"TargetNames", [](Plan& p) { p.target = "sm_80"; },
     "target: expected sm_80,sm_90a (gpu.targets), got sm_80"},
    {"TargetTwice", [](Plan& p) { p.gpu.targets[1].name = "sm_80"; },
     "target sm_80: expected one of that name, got two"},
    {"TargetShared", [](Plan& p) { p.gpu.targets[0].shared_per_block = -1; },
     "target sm_80: shared_per_block: expected 0..1048576, got -1"},
    {"TargetsGone",
     [](Plan& p) {
       p.gpu.targets.clear();
       p.steps[4].scratch.clear();
       p.buffers.pop_back();
     },
     "gpu: kernels: expected none without a target, got 4"},
    {"CpuWithVariants",
     [](Plan& p) {
       p.gpu = {};
       p.steps[4].scratch.clear();
       p.buffers.pop_back();
     },
     "step 0 (x): expected neither variants nor scratch without a GPU target, got some"},
    {"CpuWithPersistent", [](Plan& p) { p.gpu = {}; },
     "buffer counters: space: expected none that is persistent on the cpu, got persistent"},
    {"PackerOfAnotherType", [](Plan& p) { p.gpu.packers[0].type = DType::kQ2_K; },
     "gpu packer of q2_k: expected a type that can lie as mma, got none"},
    {"PackerTwice", [](Plan& p) { p.gpu.packers.push_back(p.gpu.packers[0]); },
     "gpu packer of q8_0: expected one of that type, got two"},
    {"PackerWithoutKernel", [](Plan& p) { p.gpu.packers[0].kernel = 4; },
     "gpu packer of q8_0: kernel: expected 0..3, got 4"},
    {"PackerShared", [](Plan& p) { p.gpu.packers[0].dynamic_shared = (163 << 10) - 15; },
     "gpu packer of q8_0: dynamic_shared: expected 0..166896, got 166897"},
    {"SamplerWithoutKernel", [](Plan& p) { p.gpu.sampler.kernel = 4; },
     "gpu sampler: kernel: expected 0..3, got 4"},
    {"SamplerBelowNone", [](Plan& p) { p.gpu.sampler.kernel = -2; },
     "gpu sampler: kernel: expected 0..3, got -2"},
    {"SamplerShared", [](Plan& p) { p.gpu.sampler.dynamic_shared = -1; },
     "gpu sampler: dynamic_shared: expected 0..166896, got -1"},
    {"SamplerOfOtherThreads", [](Plan& p) { p.gpu.sampler.kernel = 2; },
     "gpu sampler: expected a kernel of 256 threads, got 128"},
    {"SamplerWithoutNext", [](Plan& p) { p.outputs.pop_back(); },
     "gpu sampler: expected outputs logits and next, got not both"},
    {"SamplerOfFloats", [](Plan& p) { p.buffers[13].type.dtype = DType::kF32; },
     "gpu sampler: next: expected i32[R], got f32[R]"},
    {"PackerMissing", [](Plan& p) { p.gpu.packers.clear(); },
     "weight packed: expected a gpu packer of q8_0, got none"},
    {"PackedForTheCpu",
     [](Plan& p) {
       p.weights[2].layout = p.buffers[11].type.layout = "rows8";
       p.buffers[11].bytes = MaxBytes(p.buffers[11].type, p.symbols).value_or(0);
     },
     "weight packed: expected the layout mma, or the file's, on a GPU, got rows8"},
    {"KernelTwice", [](Plan& p) { p.gpu.kernels[1].name = "rows_1"; },
     "gpu kernel rows_1: expected one of that name, got two"},
    {"KernelThreads", [](Plan& p) { p.gpu.kernels[0].threads = 1025; },
     "gpu kernel rows_1: threads: expected 1..1024, got 1025"},
    {"KernelImages", [](Plan& p) { p.gpu.kernels[1].images.pop_back(); },
     "gpu kernel add_2: images: expected one for each of 2 targets, or none, got 1"},
    {"KernelImagesSome", [](Plan& p) { p.gpu.kernels[1].images.clear(); },
     "gpu kernel add_2: images: expected as many as the first kernel has, got 0"},
    {"ImageTarget", [](Plan& p) { p.gpu.kernels[2].images[1].target = 0; },
     "gpu kernel linear_3 for sm_90a: target: expected 1, got 0"},
    {"ImageEmpty", [](Plan& p) { p.gpu.kernels[2].images[1].cubin.clear(); },
     "gpu kernel linear_3 for sm_90a: expected code, got none"},
    {"ImageFigures", [](Plan& p) { p.gpu.kernels[2].images[0].registers = -1; },
     "gpu kernel linear_3 for sm_80: registers: expected 0..1048576, got -1"},
    {"ChosenBy", [](Plan& p) { p.steps[1].chosen_by = 6; },
     "step 1 (0.k_new): chosen_by: expected a symbol 0..5, got 6"},
    {"NoVariants", [](Plan& p) { p.steps[1].variants.clear(); },
     "step 1 (0.k_new): variants: expected 1..64, got 0"},
    {"VariantsEndEarly", [](Plan& p) { p.steps[2].variants.pop_back(); },
     "step 2 (y): variants: expected one for each T up to 4, got up to 1"},
    {"VariantsUnsorted", [](Plan& p) { p.steps[2].variants[1].last = 1; },
     "step 2 (y), T up to 1: last: expected 2..4, got 1"},
    {"VariantBeyond", [](Plan& p) { p.steps[2].variants[1].last = 5; },
     "step 2 (y), T up to 5: last: expected 2..4, got 5"},
    {"NoLaunches", [](Plan& p) { p.steps[2].variants[0].launches.clear(); },
     "step 2 (y), T up to 1: launches: expected 1..64, got 0"},
    {"LaunchKernel", [](Plan& p) { SecondAdd(p).kernel = 4; },
     "step 2 (y), T up to 4: launch: expected a gpu kernel 0..3, got 4"},
    {"GridZero", [](Plan& p) { SecondAdd(p).grid[2] = Constant(0); },
     "add_2: grid z: expected 1..65535, got 0"},
    {"GridLarge", [](Plan& p) { SecondAdd(p).grid[1] = Constant(65536); },
     "add_2: grid y: expected 1..65535, got 65536"},
    {"GridOverflow",
     [](Plan& p) {
       const Expr huge = Constant(INT64_MAX) * SymbolValue(0);
       SecondAdd(p).grid[0] = huge;
     },
     "add_2: expression: expected a value below 2^63, got more"},
    {"GridMalformed", [](Plan& p) { SecondAdd(p).grid[0].terms.clear(); },
     "add_2: expression: expected 1 to 32 terms, got 0"},
    {"Shared", [](Plan& p) { SecondAdd(p).dynamic_shared = Constant(163 << 10); },
     "add_2: shared memory: expected at most 166912 bytes (sm_80), got 166912 + 16"},
    {"ArgBuffer", [](Plan& p) { SecondAdd(p).args[0].buffer = 9; },
     "add_2: argument a: expected an input, output or scratch buffer of the step, got 9"},
    {"ArgNoBuffer", [](Plan& p) { p.steps[4].variants[0].launches[0].args[0].buffer = -1; },
     "argument x: expected an input, output or scratch buffer of the step, got -1"},
    {"ArgOffset", [](Plan& p) { SecondAdd(p).args[0].offset = 256; },
     "add_2: argument a: offset: expected one inside 256 bytes, got 256"},
    {"ArgNumber",
     [](Plan& p) {
       SecondAdd(p).args.push_back({ArgKind::kInt32, "n", -1, 0, Constant(int64_t{1} << 31)});
     },
     "add_2: argument n: expected 0..2147483647, got 2147483648"},
    {"ArgSymbol",
     [](Plan& p) {
       SecondAdd(p).args[2].size = {{{ExprOp::kSymbol, 44}}};
     },
     "add_2: argument count: expression: expected one of 6 symbols, got symbol 44"},
    {"ArgsMany", [](Plan& p) { SecondAdd(p).args.resize(129); },
     "add_2: arguments: expected at most 128 of together 4096 bytes, got 129"},
    {"ScratchIndex", [](Plan& p) { p.steps[2].scratch = {15}; },
     "step 2 (y): scratch: expected a buffer 0..14, got 15"},
    {"ScratchOfInput", [](Plan& p) { p.steps[2].scratch = {1}; },
     "step 2 (y): expected scratch in the arena or persistent, and no view, got rows"},
    {"ScratchOverInput", [](Plan& p) { p.buffers[12].offset = 64; },
     "step 2 (y): expected scratch apart from all else of the step, got half over x"},
    {"PersistentTogether",
     [](Plan& p) {
       p.buffers.push_back(p.buffers[14]);
       p.buffers.back().name = "others";
     },
     "buffer others: offset: expected 20 or more, got 0"},
    {"PersistentInput", [](Plan& p) { p.steps[4].inputs.push_back(14); },
     "step 4 (logits): expected an input that is not persistent, got counters"},
    {"PersistentOutput", [](Plan& p) { p.steps[4].outputs = {14}; },
     "step 4 (logits): expected an output in the arena or a cache, got counters"},
};
INSTANTIATE_TEST_SUITE_P(All, ValidateGpuFault, ::testing::ValuesIn(kFaults),
                         [](const auto& info) { return std::string(info.param.name); });

// Bytes changed anywhere in the file, with a digest that fits: read or refused, never worse.
TEST(GpuPlan, SurvivesChangedBytes) {
  const std::string file = Serialize(SampleGpuPlan()).value();
  const std::string body = file.substr(0, file.size() - kTrailerBytes);
  int refused = 0;
  for (size_t at = 0; at < body.size(); ++at) {
    for (const int bits : {0xff, 0x01, 0x80}) {
      std::string changed = body;
      changed[at] = static_cast<char>(changed[at] ^ bits);
      const std::string sealed = Seal(changed);
      const absl::StatusOr<Plan> plan = Deserialize(Bytes(sealed), "x.plan");
      refused += !plan.ok();
      if (plan.ok()) PrintPlan(*plan);
    }
  }
  EXPECT_GT(refused, static_cast<int>(body.size()));
}

}  // namespace
}  // namespace renga::plan
