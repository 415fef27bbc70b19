// Models lowered for GPUs, without NVRTC: what is lowered, from any subset of the passes, what is
// refused, how many kernels there are and how one reads.
#include <algorithm>
#include <fstream>
#include <iostream>
#include <optional>
#include <set>

#include "codegen/emit/cuda_source.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/core/cache_rounding.h"
#include "passes/simplify/key_bias_apart.h"
#include "runtime/exec/index_rules.h"
#include "runtime/plan/launch.h"
#include "runtime/plan/layout.h"
#include "runtime/plan/serialize.h"
#include "runtime/plan/validate.h"
#include "tests/support/biased_keys_model.h"
#include "tests/support/header_plan.h"
#include "tests/support/llama_8b.h"
#include "tests/support/pass_subsets.h"
#include "tests/support/real_model.h"
#include "tests/support/tiny_record.h"
#include "tools/compiler.h"

namespace renga {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

const std::string kStories = RENGA_SOURCE_DIR "/tests/data/stories260K.gguf";

absl::StatusOr<plan::Plan> LowerModel(const std::string& gguf, const std::string& target,
                                      std::optional<std::vector<std::string>> passes = {}) {
  CompileOptions options;
  options.target = target;
  options.only_lower = true;
  options.only_passes = std::move(passes);
  RENGA_ASSIGN_OR_RETURN(Compilation compilation, Compile(gguf, options));
  return std::move(compilation.plan);
}

const plan::GpuKernel* KernelStarting(const plan::Plan& plan, std::string_view start) {
  for (const plan::GpuKernel& kernel : plan.gpu.kernels) {
    if (kernel.name.starts_with(start)) return &kernel;
  }
  return nullptr;
}

class TinyGpuTest : public testing::TestWithParam<std::string> {};

// Types that no kernel multiplies by; everything else about these models lowers.
bool Unsupported(const std::string& model) {
  return model.find("IQ1") != model.npos || model.find("IQ2") != model.npos ||
         model.find("IQ3") != model.npos || model.find("IQ4_XS") != model.npos ||
         model.find("Q2_K") != model.npos || model.find("Q3_K") != model.npos;
}

TEST_P(TinyGpuTest, LowersOrSaysWhatHasNoKernel) {
  for (const std::string target : {"sm_80", "sm_90a", "sm_86,sm_120a"}) {
    SCOPED_TRACE(target);
    const auto plan = LowerModel(TinyRecord::Read(GetParam()).path, target);
    if (Unsupported(GetParam())) {
      EXPECT_EQ(plan.status().code(), absl::StatusCode::kUnimplemented) << plan.status();
      EXPECT_THAT(ToStd(plan.status().message()),
                  AllOf(HasSubstr(".weight: type "), HasSubstr(" has no kernel"),
                        HasSubstr("supported: f32 f16 q4_0"), HasSubstr("--target cpu")));
      continue;
    }
    ASSERT_TRUE(plan.ok()) << plan.status();
    EXPECT_EQ(plan->target, target);
    // What it takes of the device is what its parts take.
    uint64_t weights = 0;
    for (const plan::Weight& weight : plan->weights) {
      weights += (plan::StoredBytes(weight) + 255) / 256 * 256;
    }
    EXPECT_EQ(plan->memory.weights, weights);
    const absl::StatusOr<std::string> file = plan::Serialize(*plan);
    ASSERT_TRUE(file.ok()) << file.status();
    const auto read =
        plan::Deserialize({reinterpret_cast<const uint8_t*>(file->data()), file->size()}, "x.plan");
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_TRUE(*read == *plan);
    EXPECT_TRUE(CheckIndexOperands(*plan).ok()) << CheckIndexOperands(*plan).status();
  }
}

INSTANTIATE_TEST_SUITE_P(All, TinyGpuTest, testing::ValuesIn(TinyRecord::Names()),
                         [](const auto& info) { return TinyRecord::TestName(info.param); });

TEST(GpuLowering, EverySubsetOfThePassesLowers) {
  for (const std::string model : {"llama-moe", "qwen2"}) {
    const std::string path = TinyRecord::Read(model).path;
    // Each pass alone, all but each, none and all.
    std::set<PassSet> sets = {0, AllPasses()};
    for (int i = 0; i < PassCount(); ++i) {
      sets.insert(PassSet{1} << i);
      sets.insert(AllPasses() & ~(PassSet{1} << i));
    }
    for (const PassSet set : sets) {
      const auto plan = LowerModel(path, "sm_90a", NamesOf(set));
      ASSERT_TRUE(plan.ok()) << model << ": " << TextOf(set) << ": " << plan.status();
      // What the compiler makes, the executor takes.
      const absl::Status runs = CheckIndexOperands(*plan).status();
      EXPECT_TRUE(runs.ok()) << model << ": " << TextOf(set) << ": " << runs;
    }
  }
}

TEST(GpuLowering, PackingIsNotLeftOut) {
  CompileOptions options;
  options.target = "sm_90a";
  options.disabled_passes = {"pack-weights"};
  EXPECT_THAT(
      ToStd(Compile(kStories, options).status().message()),
      HasSubstr("--disable-pass pack-weights: kernels for sm_90a read packed weights only"));
}

// The bias of keys stays out of a quantised cache, and attention adds it, fused or not.
TEST(GpuLowering, QuantisedKeysAreWithoutTheirBias) {
  TinyModel model = BiasedKeysModel();
  CompileOptions options;
  options.target = "sm_90a";
  options.only_lower = true;
  options.k_type = DType::kQ8_0;
  const absl::StatusOr<Compilation> gpu = Compile(model.Write(), options);
  ASSERT_TRUE(gpu.ok()) << gpu.status();
  EXPECT_THAT(gpu->plan.ir, HasSubstr("k_bias=@blk.1.attn_k.bias) {"));
  int64_t apart = 0;
  for (const plan::LedgerEntry& entry : gpu->plan.ledger) {
    if (entry.pass != kKeyBiasApart) continue;
    EXPECT_EQ(entry.result, plan::LedgerResult::kMatched);
    ++apart;
  }
  EXPECT_EQ(apart, model.layers);
  const plan::GpuKernel* kernel = KernelStarting(gpu->plan, "attention_");
  ASSERT_NE(kernel, nullptr);
  EXPECT_THAT(kernel->source, AllOf(HasSubstr("BiasedAttention<Config>"), HasSubstr("struct Rope"),
                                    HasSubstr("using KeyCache = Q8;")));
  options.only_passes.emplace({std::string(kKeyBiasApart)});
  const absl::StatusOr<Compilation> parts = Compile(model.Write(), options);
  ASSERT_TRUE(parts.ok()) << parts.status();
  kernel = KernelStarting(parts->plan, "attn_scores");
  ASSERT_NE(kernel, nullptr);
  EXPECT_THAT(kernel->source, HasSubstr("BiasedAttnScores<Config>"));
}

// The bias is apart of all keys but those in f32, which it costs nothing.
TEST(GpuLowering, AnyPairOfCacheTypesLowers) {
  TinyModel model = BiasedKeysModel();
  const std::string path = model.Write();
  for (const DType k : CacheTypes()) {
    for (const DType v : CacheTypes()) {
      SCOPED_TRACE(StrCat(Name(k), " ", Name(v)));
      CompileOptions options;
      options.target = "sm_80,sm_90a";
      options.only_lower = true;
      options.k_type = k;
      options.v_type = v;
      const absl::StatusOr<Compilation> gpu = Compile(path, options);
      ASSERT_TRUE(gpu.ok()) << gpu.status();
      ASSERT_EQ(gpu->plan.caches.size(), 4u);
      for (const plan::Cache& cache : gpu->plan.caches) {
        EXPECT_EQ(cache.dtype, cache.name.ends_with("k_cache") ? k : v);
      }
      const plan::GpuKernel* kernel = KernelStarting(gpu->plan, "attention_");
      ASSERT_NE(kernel, nullptr);
      EXPECT_EQ(kernel->source.find("BiasedAttention<Config>") != std::string::npos,
                k != DType::kF32);
    }
  }
}

// One token's blocks run all at a time: a block more than the 132 multiprocessors hold, and the
// last starts where the first ends.
TEST(GpuLowering, ATokensAttentionIsOneWaveOfBlocks) {
  TempFolder folder;
  const std::string path = Llama8b::Write(folder, "8b.gguf");
  for (const DType type : {DType::kF16, DType::kQ8_0, DType::kF8_E4M3}) {
    SCOPED_TRACE(Name(type));
    CompileOptions options;
    options.target = "sm_90a";
    options.only_lower = true;
    options.context = 32768;
    options.k_type = options.v_type = type;
    const absl::StatusOr<plan::Plan> plan = LowerHeader(path, options);
    ASSERT_TRUE(plan.ok()) << plan.status();
    const plan::GpuKernel* kernel = KernelStarting(*plan, "attention_");
    ASSERT_NE(kernel, nullptr);
    EXPECT_THAT(kernel->source, AllOf(HasSubstr("kMaxSplits = 16;"), HasSubstr("kKvHeads = 8,"),
                                      HasSubstr("kTileKeys = 128, kStages = 2,")));
  }
}

TEST(GpuLowering, UnknownTargetsAreNamed) {
  EXPECT_THAT(ToStd(LowerModel(kStories, "sm_70").status().message()),
              HasSubstr("target: expected one of cpu, sm_80, sm_86, sm_89, sm_90a, "
                        "sm_100a, sm_120a, got 'sm_70'"));
  EXPECT_THAT(ToStd(LowerModel(kStories, "sm_80,sm_80").status().message()),
              HasSubstr("expected sm_80 once, got it twice"));
}

TEST(GpuLowering, EveryKernelSaysHowManyBlocksAMultiprocessorHolds) {
  const auto plan = LowerModel(kStories, "sm_90a");
  ASSERT_TRUE(plan.ok()) << plan.status();
  int64_t relaxed = 0;
  for (const plan::GpuKernel& kernel : plan->gpu.kernels) {
    const std::string one = StrCat("__launch_bounds__(", kernel.threads, ", 1)");
    const std::string text = codegen::WithOneBlockPerSm(kernel.source);
    EXPECT_EQ(text.empty(), kernel.source.find(one) != std::string::npos) << kernel.name;
    if (text.empty()) continue;
    ++relaxed;
    EXPECT_THAT(text, HasSubstr(StrCat(one, " ", kernel.name, "(const ")));
  }
  EXPECT_GT(relaxed, 2);
  EXPECT_EQ(codegen::WithOneBlockPerSm("__global__ void k(int a, int b) {}"), "");
}

TEST(GpuLowering, AKernelReadsWell) {
  const auto plan = LowerModel(kStories, "sm_90a");
  ASSERT_TRUE(plan.ok()) << plan.status();
  const plan::GpuKernel* kernel = KernelStarting(*plan, "gate_up_");
  ASSERT_NE(kernel, nullptr);
  EXPECT_EQ(
      kernel->source,
      StrCat(
          R"(// f32[T,172] = gate_up(f32[T,64], f32[172,64], f32[172,64], norm=f32[64]) {activation=silu, eps=1e-05}
// T = 1..8
#include "codegen/kernels/gate_up.cuh"
using namespace renga::kernels;
struct Config {
  using Gate = Packed<F32, 172, 64>;
  using Up = Packed<F32, 172, 64>;
  static constexpr int kTokens = 8, kWarps = 4, kXParts = 2;
  static constexpr bool kNorm = true; static constexpr float kEps = 1e-05f;
  static constexpr Activation kActivation = Activation::kSilu;
};
extern "C" __global__ void __launch_bounds__(128, 4) )",
          kernel->name, R"((const GateUpArgs args) {
  GateUp<Config>(args);
}
)"));
  EXPECT_EQ(kernel->threads, 128);
}

// What a load needs is in the plan: a packer for each type that lies as mma, no other.
TEST(GpuLowering, PackersAreThoseOfThePackedTypes) {
  for (const std::string name : {"llama-Q4_K_M", "qwen2-Q5_0", "llama-moe"}) {
    const auto plan = LowerModel(TinyRecord::Read(name).path, "sm_80,sm_90a");
    ASSERT_TRUE(plan.ok()) << plan.status();
    std::set<DType> packed, packers;
    for (const plan::Weight& weight : plan->weights) {
      if (!weight.layout.empty()) packed.insert(weight.source.dtype);
    }
    for (const plan::GpuPacker& packer : plan->gpu.packers) {
      packers.insert(packer.type);
      const plan::GpuKernel& kernel = plan->gpu.kernels[packer.kernel];
      EXPECT_THAT(kernel.name, HasSubstr(StrCat("pack_", Name(packer.type), "_")));
      EXPECT_THAT(kernel.source, HasSubstr("(const PackArgs args)"));
      EXPECT_GT(packer.dynamic_shared, 0);
      EXPECT_LE(packer.dynamic_shared, 48 << 10);  // without asking for more
    }
    EXPECT_EQ(packers, packed) << name;
    EXPECT_FALSE(packed.empty());
  }
  const auto cpu = LowerModel(kStories, "cpu");
  ASSERT_TRUE(cpu.ok()) << cpu.status();
  EXPECT_TRUE(cpu->gpu.packers.empty());
}

TEST(GpuLowering, LayersShareTheirKernels) {
  const auto plan = LowerModel(kStories, "sm_90a");
  ASSERT_TRUE(plan.ok()) << plan.status();
  std::set<std::string> sources;
  for (const plan::GpuKernel& kernel : plan->gpu.kernels) {
    EXPECT_TRUE(sources.insert(kernel.source).second) << kernel.name;
    EXPECT_THAT(kernel.source, Not(HasSubstr("blk."))) << kernel.name;
    const auto lines = std::count(kernel.source.begin(), kernel.source.end(), '\n');
    EXPECT_LE(lines, 30) << kernel.source;
    for (const plan::Step& step : plan->steps) {
      if (step.layer < 0) continue;
      EXPECT_THAT(kernel.source, Not(HasSubstr(step.name))) << kernel.name;
    }
  }
  // Five layers, of which each takes what the first takes.
  std::vector<std::set<int32_t>> of_layer(5);
  for (const plan::Step& step : plan->steps) {
    if (step.layer < 0) continue;
    for (const plan::Variant& variant : step.variants) {
      for (const plan::Launch& launch : variant.launches) {
        of_layer[step.layer].insert(launch.kernel);
      }
    }
  }
  for (const std::set<int32_t>& kernels : of_layer) EXPECT_EQ(kernels, of_layer[0]);
  // A few tokens are a launch a step.
  for (const plan::Step& step : plan->steps) EXPECT_EQ(step.variants[0].launches.size(), 1u);
}

// The kernels of each variant of the step that computes `name`, by how their names start.
std::vector<std::string> VariantsOf(const plan::Plan& plan, std::string_view name) {
  std::vector<std::string> texts;
  for (const plan::Step& step : plan.steps) {
    if (step.name != name) continue;
    for (const plan::Variant& variant : step.variants) {
      std::vector<std::string> kernels;
      for (const plan::Launch& launch : variant.launches) {
        const std::string& kernel = plan.gpu.kernels[launch.kernel].name;
        kernels.push_back(kernel.substr(0, kernel.rfind('_')));  // without its digest
      }
      texts.push_back(StrCat(variant.last, ": ", StrJoin(kernels, " ")));
    }
  }
  return texts;
}

absl::StatusOr<plan::Plan> LowerForSteps(const std::string& model, const std::string& target,
                                         int64_t step_tokens) {
  CompileOptions options;
  options.target = target;
  options.only_lower = true;
  options.max_step_tokens = step_tokens;
  RENGA_ASSIGN_OR_RETURN(Compilation compilation, Compile(TinyRecord::Read(model).path, options));
  return std::move(compilation.plan);
}

// Rows become f16 once a step, in the order that its products read; wgmma is taken where all
// targets and all weights of the step have it.
TEST(GpuLowering, WgmmaForManyRows) {
  const auto plan = LowerForSteps("llama-Q4_K", "sm_90a", 200);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_THAT(
      VariantsOf(*plan, "0.act"),
      ElementsAre("8: gate_up_q4_k_256x256",
                  "16: half_rows_256_norm matmul_q4_k_256x256_few matmul_q4_k_256x256_few glu",
                  "64: half_rows_256_norm_wgmma wgmma_q4_k_256x256_64 wgmma_q4_k_256x256_64 glu",
                  "128: half_rows_256_norm_wgmma wgmma_q4_k_256x256_64 wgmma_q4_k_256x256_64 glu",
                  "200: half_rows_256_norm_wgmma wgmma_q4_k_256x256_64 wgmma_q4_k_256x256_64 "
                  "glu"));
  const plan::GpuKernel* kernel = KernelStarting(*plan, "wgmma_q4_k_256x256_64");
  ASSERT_NE(kernel, nullptr);
  EXPECT_EQ(kernel->source, StrCat(R"(// y = q4_k[256,256] x + bias + residual, x in two f16
#include "codegen/kernels/matmul_wgmma.cuh"
using namespace renga::kernels;
struct Config {
  using Weight = Packed<Q4_K_FromMiddle, 256, 256>;
  static constexpr int kXParts = 2, kPitch = 256;
  static constexpr int kTileTokens = 64, kStages = 6, kSplits = 1;
};
extern "C" __global__ void __launch_bounds__(384, 1) )",
                                   kernel->name, R"((const __grid_constant__ MatmulWgmmaArgs args) {
  MatmulWgmma<Config>(args);
}
)"));
}

TEST(GpuLowering, WgmmaOnlyWhereAllHaveIt) {
  struct Case {
    const char *model, *target, *step, *reason;
    int64_t tokens;
  };
  const Case cases[] = {
      {"llama-Q4_K", "sm_80,sm_90a", "0.act", "products; sm_80 has no wgmma", 200},
      {"llama-Q4_K", "sm_100a", "0.act", "products; sm_100a has no wgmma", 200},
      {"llama", "sm_90a", "0.act", "products; wgmma takes no f32 weights", 200},
      {"qwen2-F16", "sm_90a", "0.out", "products; wgmma takes 64 k at a time, of which 96 is", 200},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(StrCat(c.model, " ", c.target, " ", c.tokens));
    const auto plan = LowerForSteps(c.model, c.target, c.tokens);
    ASSERT_TRUE(plan.ok()) << plan.status();
    const std::vector<std::string> variants = VariantsOf(*plan, c.step);
    EXPECT_THAT(variants, Each(Not(HasSubstr("wgmma"))));
    EXPECT_EQ(variants.size(), 3u);
    for (const plan::Step& step : plan->steps) {
      if (step.name != c.step) continue;
      EXPECT_THAT(step.variants.back().reason, HasSubstr(c.reason));
    }
  }
}

TEST(GpuLowering, AnotherContextChangesNoKernel) {
  CompileOptions options;
  options.target = "sm_90a";
  options.only_lower = true;
  const auto a = Compile(kStories, options);
  options.context = 512;
  const auto b = Compile(kStories, options);
  ASSERT_TRUE(a.ok() && b.ok()) << a.status() << b.status();
  EXPECT_EQ(a->plan.gpu.kernels, b->plan.gpu.kernels);
}

TEST(GpuLowering, ARealModelTakesFewKernels) {
  if (!std::ifstream(QwenCoder())) GTEST_SKIP() << "MODEL ABSENT: tools/fetch-models gets it";
  const auto plan = LowerModel(QwenCoder(), "sm_90a");
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_LE(plan->gpu.kernels.size(), 60u);
  EXPECT_LE(plan->steps.size(), 24 * 5 + 4u);
  std::cout << plan->gpu.kernels.size() << " kernels, " << plan->steps.size() << " steps\n";
}

// Shapes of a model that fills a GPU, from its header: every target has kernels for them.
TEST(GpuLowering, AnEightBillionModelLowersForEveryTarget) {
  const TempFolder folder;
  const std::string path = Llama8b::Write(folder, "llama-8b.gguf");
  for (const codegen::GpuTarget& target : codegen::GpuTargets()) {
    const auto plan = LowerHeader(path, std::string(target.name));
    ASSERT_TRUE(plan.ok()) << target.name << ": " << plan.status();
    EXPECT_LE(plan->gpu.kernels.size(), 60u) << target.name;
    EXPECT_EQ(plan->steps.size(), 32 * 5 + 3u) << target.name;
    EXPECT_GT(plan->memory.weights, uint64_t{4} << 30) << target.name;
  }
}

}  // namespace
}  // namespace renga
