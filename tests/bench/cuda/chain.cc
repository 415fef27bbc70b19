#include "tests/bench/cuda/chain.h"

#include <algorithm>
#include <vector>

#include "codegen/emit/kernel_shapes.h"
#include "codegen/kernels/args.cuh"
#include "ir/base/strings.h"
#include "tests/bench/cuda/attention.h"
#include "tests/bench/cuda/layers.h"

namespace renga::bench {
namespace {

constexpr int kLayers = 32, kContext = 1024;
constexpr int64_t kWidth = 4096, kHidden = 14336;
constexpr DType kTypes[] = {DType::kF16, DType::kQ8_0, DType::kQ4_K};
constexpr int kWarps[] = {4, 8, 16};

const Shape kQkv = {"q+k+v", 6144, kWidth, true, false};
const Shape kOutput = {"output", kWidth, kWidth, false, true};
const Shape kGate = {"gate, up", kHidden, kWidth, true, false};
const Shape kDown = {"down", kWidth, kHidden, false, true};
const Shape kHead = {"head", 128256, kWidth, true, false};

std::string GateUpName(DType type, int warps) { return StrCat("gate_up_", Name(type), "_", warps); }

std::string GateUpText(DType type, int warps) {
  const std::string weight = PackedName(type, kHidden, kWidth);
  return StrCat(R"(#include "codegen/kernels/gate_up.cuh"
using namespace renga::kernels;
struct Config {
  using Gate = )",
                weight, ";\n  using Up = ", weight, R"(;
  static constexpr int kTokens = 1, kWarps = )",
                warps, R"(, kXParts = 1;
  static constexpr bool kNorm = true;
  static constexpr float kEps = 1e-5f;
  static constexpr Activation kActivation = Activation::kSilu;
};
extern "C" __global__ void __launch_bounds__()",
                32 * warps, ") ", GateUpName(type, warps),
                "(const GateUpArgs args) { GateUp<Config>(args); }\n");
}

// The variant with as many blocks as fit, at most one a tile.
absl::StatusOr<Variant> Filled(const CudaBench& bench, Variant variant, const MmaLayout& layout) {
  RENGA_ASSIGN_OR_RETURN(const int fit, bench.BlocksPerSm(variant));
  if (fit == 0) return absl::ResourceExhaustedError(StrCat(variant.kernel, " does not fit"));
  const int64_t blocks = int64_t{fit} * bench.gpu().context->gpu().multiprocessors;
  variant.grid[0] = static_cast<unsigned>(std::min(blocks, layout.tiles));
  return variant;
}

absl::StatusOr<Variant> LinearVariant(const CudaBench& bench, DType type, const Shape& shape,
                                      int warps, const MmaLayout& layout) {
  return Filled(bench,
                {DecodeName(type, shape, 1, warps),
                 {1, 1, 1},
                 static_cast<unsigned>(32 * warps),
                 codegen::LinearShared(warps, 1, layout.padded_k()).At(1),
                 ""},
                layout);
}

absl::Status BenchType(const CudaBench& bench, DType type, Table* table) {
  // All layers have weights of their own, as in a model.
  const auto layers_of = [&](const Shape& shape, int64_t count) {
    return MakeLayers(bench, type, shape, 1, count);
  };
  RENGA_ASSIGN_OR_RETURN(const Layers qkv, layers_of(kQkv, kLayers));
  RENGA_ASSIGN_OR_RETURN(const Layers output, layers_of(kOutput, kLayers));
  RENGA_ASSIGN_OR_RETURN(const Layers gate_up, layers_of(kGate, 2 * kLayers));
  RENGA_ASSIGN_OR_RETURN(const Layers down, layers_of(kDown, kLayers));
  RENGA_ASSIGN_OR_RETURN(const Layers head, layers_of(kHead, 1));
  RENGA_ASSIGN_OR_RETURN(const auto attention, AttentionStep::Make(bench, kContext));
  emulator::Random random(7);
  RENGA_ASSIGN_OR_RETURN(const cuda::Memory x_at, bench.Upload(random.Vector(kWidth, 1)));
  RENGA_ASSIGN_OR_RETURN(const cuda::Memory norm_at, bench.Upload(random.Vector(kWidth, 1)));
  RENGA_ASSIGN_OR_RETURN(const cuda::Memory qkv_at, bench.Allocate(kQkv.n * 4));
  RENGA_ASSIGN_OR_RETURN(const cuda::Memory mix_at, bench.Allocate(kWidth * 4));
  RENGA_ASSIGN_OR_RETURN(const cuda::Memory act_at, bench.Allocate(kHidden * 4));
  RENGA_ASSIGN_OR_RETURN(const cuda::Memory logits_at, bench.Allocate(kHead.n * 4));
  const auto floats = [](const cuda::Memory& m) { return reinterpret_cast<float*>(m.data()); };
  float* const x = floats(x_at);
  const float* const norm = floats(norm_at);

  double bytes = 4.0 * kLayers * kContext * 1024 + static_cast<double>(head.layout.bytes);
  for (const Layers* one : {&qkv, &output, &gate_up, &gate_up, &down}) {
    bytes += static_cast<double>(kLayers * one->layout.bytes);
  }
  Row row = {.what = "decode step of the 8B", .type = std::string(Name(type)), .tokens = 1};
  row.bytes = bytes;
  for (const int warps : kWarps) {
    const auto variant_of = [&](const Shape& shape, const Layers& layers) {
      return LinearVariant(bench, type, shape, warps, layers.layout);
    };
    RENGA_ASSIGN_OR_RETURN(const Variant run_qkv, variant_of(kQkv, qkv));
    RENGA_ASSIGN_OR_RETURN(const Variant run_output, variant_of(kOutput, output));
    RENGA_ASSIGN_OR_RETURN(const Variant run_down, variant_of(kDown, down));
    RENGA_ASSIGN_OR_RETURN(const Variant run_head, variant_of(kHead, head));
    RENGA_ASSIGN_OR_RETURN(const Variant run_gate_up,
                           Filled(bench,
                                  {GateUpName(type, warps),
                                   {1, 1, 1},
                                   static_cast<unsigned>(32 * warps),
                                   codegen::GateUpShared(warps, 1, gate_up.layout.padded_k()).At(1),
                                   ""},
                                  gate_up.layout));
    const auto linear = [&](const Variant& variant, const float* from, const float* with,
                            const void* weight, const float* residual, float* to) {
      return bench.Launch(variant,
                          kernels::LinearArgs{from, with, weight, nullptr, residual, to, 1});
    };
    RENGA_ASSIGN_OR_RETURN(const double us, bench.Microseconds([&]() -> absl::Status {
      for (int l = 0; l < kLayers; ++l) {
        RENGA_RETURN_IF_ERROR(linear(run_qkv, x, norm, qkv.At(l), nullptr, floats(qkv_at)));
        RENGA_RETURN_IF_ERROR(attention->Launch(l, floats(qkv_at), floats(mix_at)));
        RENGA_RETURN_IF_ERROR(linear(run_output, floats(mix_at), nullptr, output.At(l), x, x));
        RENGA_RETURN_IF_ERROR(bench.Launch(
            run_gate_up, kernels::GateUpArgs{x, norm, gate_up.At(2 * l), gate_up.At(2 * l + 1),
                                             nullptr, nullptr, floats(act_at), 1}));
        RENGA_RETURN_IF_ERROR(linear(run_down, floats(act_at), nullptr, down.At(l), x, x));
      }
      return linear(run_head, x, norm, head.At(0), nullptr, floats(logits_at));
    }));
    if (row.us == 0 || us < row.us) {
      row.us = us;
      row.label = StrCat(warps, " warps, blocks as fit; ", static_cast<int64_t>(1e6 / us),
                         " steps a second");
    }
  }
  table->Add(row);
  return absl::OkStatus();
}

}  // namespace

KernelTexts ChainTexts() {
  KernelTexts texts = AttentionTexts();
  for (const DType type : kTypes) {
    for (const int warps : kWarps) {
      for (const Shape& shape : {kQkv, kOutput, kDown, kHead}) {
        texts[DecodeName(type, shape, 1, warps)] = DecodeText(type, shape, 1, warps);
      }
      texts[GateUpName(type, warps)] = GateUpText(type, warps);
    }
  }
  return texts;
}

void BenchChain(const CudaBench& bench, Table* table) {
  table->Section("A decode step of Llama-3.1-8B's shapes over 1,024 positions, in one graph");
  for (const DType type : kTypes) {
    table->AddFailure("decode step of the 8B", Name(type), BenchType(bench, type, table));
  }
}

}  // namespace renga::bench
