#include "tests/bench/cuda/products.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "codegen/emit/kernel_shapes.h"
#include "codegen/kernels/args.cuh"
#include "ir/base/dtype.h"
#include "ir/base/strings.h"
#include "runtime/device/cuda/tensor_map.h"
#include "tests/bench/cuda/layers.h"
#include "tests/emulator/kernels/weights.h"

namespace renga::bench {
namespace {

using emulator::Random;

// Weights of many layers, so that L2 holds nothing of the next.
constexpr int64_t kWeightBytes = int64_t{1200} << 20;
const Shape kShapes[] = {
    {"gate+up 28672x4096", 28672, 4096, true, false}, {"down 4096x14336", 4096, 14336, false, true},
    {"q+k+v 6144x4096", 6144, 4096, true, false},     {"output 4096x4096", 4096, 4096, false, true},
    {"head 151936x1024", 151936, 1024, true, false},
};
constexpr DType kMainTypes[] = {DType::kF16, DType::kQ8_0, DType::kQ4_K};
constexpr DType kOtherTypes[] = {DType::kF32,    DType::kBF16, DType::kQ4_0, DType::kQ4_1,
                                 DType::kQ5_0,   DType::kQ5_1, DType::kQ5_K, DType::kQ6_K,
                                 DType::kIQ4_NL, DType::kMXFP4};
constexpr int kDecodeTokens[] = {1, 8};
constexpr int kDecodeWarps[] = {4, 8, 16};
constexpr int kBlocksPerSm[] = {1, 2, 3, 4, 6, 8};

constexpr int64_t kPrefillTokens[] = {32, 64, 128, 256, 512, 2048};
constexpr int kHalfRowsThreads = 256;
constexpr int kWgmmaSm = 90;
struct MatmulTile {
  int64_t tile_tokens, row_tiles, row_warps, depth_warps, stages;
};
constexpr MatmulTile kMatmulTiles[] = {
    {128, 1, 8, 1, 3}, {64, 2, 4, 1, 4}, {64, 2, 8, 1, 3}, {64, 2, 4, 2, 3}, {32, 2, 8, 1, 4}};

std::string MatmulName(DType type, const Shape& shape, const MatmulTile& tile) {
  return StrCat("matmul_", Name(type), "_", shape.n, "_", shape.k, "_", tile.tile_tokens, "_",
                tile.row_tiles, "_", tile.row_warps, "_", tile.depth_warps);
}

std::string MatmulText(DType type, const Shape& shape, const MatmulTile& tile) {
  const int64_t pitch = MmaLayoutOf(type, shape.n, shape.k).value().padded_k();
  return StrCat(
      R"(#include "codegen/kernels/matmul.cuh"
using namespace renga::kernels;
struct Config {
  using Weight = )",
      PackedName(type, shape.n, shape.k), ";\n  static constexpr int kXParts = 1, kPitch = ", pitch,
      ", kTileTokens = ", tile.tile_tokens,
      ";\n  static constexpr int kRowTiles = ", tile.row_tiles, ", kRowWarps = ", tile.row_warps,
      ", kDepthWarps = ", tile.depth_warps, ", kStages = ", tile.stages,
      ";\n};\nextern \"C\" __global__ void __launch_bounds__(",
      32 * tile.row_warps * tile.depth_warps, ") ", MatmulName(type, shape, tile),
      "(const MatmulArgs args) { Matmul<Config>(args); }\n");
}

// Of matmul_wgmma, for sm_90a.
struct WgmmaTile {
  int64_t tile_tokens, stages, splits;
};
constexpr WgmmaTile kWgmmaTiles[] = {{64, 6, 1},  {64, 6, 2},  {64, 6, 4}, {128, 6, 1},
                                     {128, 6, 2}, {128, 6, 4}, {256, 5, 1}};
constexpr int64_t kMostSplitTokens = 256, kMostSplits = 4;

std::string WgmmaName(DType type, const Shape& shape, const WgmmaTile& tile) {
  return StrCat("wgmma_", Name(type), "_", shape.n, "_", shape.k, "_", tile.tile_tokens, "_in_",
                tile.splits);
}

// Nothing on other GPUs, where it is not launched.
std::string WgmmaText(DType type, const Shape& shape, const WgmmaTile& tile) {
  const std::string name = WgmmaName(type, shape, tile);
  return StrCat(R"(#include "codegen/kernels/matmul_wgmma.cuh"
using namespace renga::kernels;
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
struct Config {
  using Weight = )",
                PackedName(type, shape.n, shape.k),
                ";\n  static constexpr int kXParts = 1, kPitch = ", shape.k,
                ", kTileTokens = ", tile.tile_tokens, ", kStages = ", tile.stages,
                ", kSplits = ", tile.splits,
                ";\n};\nextern \"C\" __global__ void __launch_bounds__(384, 1) ", name,
                "(const __grid_constant__ MatmulWgmmaArgs args) { MatmulWgmma<Config>(args); }\n"
                "#else\nextern \"C\" __global__ void ",
                name, "() {}\n#endif\n");
}

std::string HalfRowsName(const Shape& shape, bool wgmma) {
  return StrCat("half_rows_", shape.k, wgmma ? "_wgmma" : "");
}

std::string HalfRowsText(const Shape& shape, bool wgmma) {
  return StrCat(
      R"(#include "codegen/kernels/half_rows.cuh"
using namespace renga::kernels;
struct Config {
  static constexpr int kK = )",
      shape.k, ", kPaddedK = ", shape.k, ", kXParts = 1, kThreads = ", kHalfRowsThreads,
      ";\n  static constexpr bool kNorm = false, kWgmmaOrder = ", wgmma ? "true" : "false",
      ";\n  static constexpr float kEps = 1e-5f;\n};\nextern \"C\" __global__ void ",
      HalfRowsName(shape, wgmma), "(const HalfRowsArgs args) { HalfRows<Config>(args); }\n");
}

// The first value that is not what `exact` (over the rows of the pool) and what is added to it say;
// empty where there is none. y[tokens, n] is read at `tokens_of` only.
std::string FirstWrong(const std::vector<float>& y, int64_t n, const emulator::Product& exact,
                       const std::vector<int64_t>& tokens_of, const std::vector<float>& residual) {
  for (size_t t = 0; t < tokens_of.size(); ++t) {
    for (int64_t row = 0; row < n; ++row) {
      const int64_t at = tokens_of[t] * n + row;
      const size_t pooled = t * kPoolRows + row % kPoolRows;
      const double rest = residual.empty() ? 0 : residual[at];
      const double expected = exact.values[pooled] + rest;
      // What is added is rounded to f32 with the sum.
      const double allowed = exact.allowed[pooled] + 1e-6 * (std::abs(expected) + std::abs(rest));
      if (std::abs(y[at] - expected) <= allowed) continue;  // false for NaN
      return StrCat("token ", tokens_of[t], " row ", row, " is ", y[at], ", expected ", expected,
                    " +- ", allowed);
    }
  }
  return "";
}

// y starts as NaN, so that what a kernel leaves out shows.
absl::Status Poison(const CudaBench& bench, const cuda::Memory& y) {
  return bench.stream().Fill(y.data(), 0xff, y.bytes());
}

absl::Status BenchDecode(const CudaBench& bench, DType type, const Shape& shape, Table* table) {
  RENGA_ASSIGN_OR_RETURN(const Layers layers, MakeLayers(bench, type, shape, kWeightBytes, 3));
  for (const int tokens : kDecodeTokens) {
    Random random(tokens);
    const std::vector<float> x = random.Vector(tokens * shape.k, 1);
    const std::vector<float> norm = shape.norm ? random.Vector(shape.k, 2) : std::vector<float>();
    const std::vector<float> residual =
        shape.residual ? random.Vector(tokens * shape.n, 5) : std::vector<float>();
    RENGA_ASSIGN_OR_RETURN(const cuda::Memory x_at, bench.Upload(x));
    RENGA_ASSIGN_OR_RETURN(const cuda::Memory norm_at, bench.Upload(norm));
    RENGA_ASSIGN_OR_RETURN(const cuda::Memory residual_at, bench.Upload(residual));
    RENGA_ASSIGN_OR_RETURN(const cuda::Memory y_at, bench.Allocate(tokens * shape.n * 4));
    const emulator::Product exact =
        emulator::Multiply(layers.pool, emulator::Normed(x, norm, 1e-5, tokens), tokens);
    std::vector<int64_t> all_tokens;
    for (int t = 0; t < tokens; ++t) all_tokens.push_back(t);
    const auto args_of = [&](int layer) {
      kernels::LinearArgs args = {};
      args.x = reinterpret_cast<const float*>(x_at.data());
      args.norm = reinterpret_cast<const float*>(norm_at.data());
      args.weight = layers.At(layer);
      args.residual = reinterpret_cast<const float*>(residual_at.data());
      args.y = reinterpret_cast<float*>(y_at.data());
      args.tokens = tokens;
      return args;
    };

    Row row = {.what = shape.what,
               .type = std::string(Name(type)),
               .tokens = tokens,
               .bytes = static_cast<double>(layers.layout.bytes)};
    int64_t least_shared = 0;
    for (const int warps : kDecodeWarps) {
      Variant variant;
      variant.kernel = DecodeName(type, shape, tokens, warps);
      variant.threads = static_cast<unsigned>(32 * warps);
      variant.shared_bytes =
          codegen::LinearShared(warps, tokens, layers.layout.padded_k()).At(tokens);
      if (least_shared == 0) least_shared = variant.shared_bytes;
      RENGA_ASSIGN_OR_RETURN(const int fit, bench.BlocksPerSm(variant));
      bool checked = false;
      for (const int per_sm : kBlocksPerSm) {
        if (per_sm > fit) break;
        const int64_t blocks = int64_t{per_sm} * bench.gpu().context->gpu().multiprocessors;
        variant.grid[0] = static_cast<unsigned>(std::min(blocks, layers.layout.tiles));
        variant.label = StrCat(warps, " warps, ", per_sm, " blocks/SM of ", fit);
        if (!checked) {
          RENGA_RETURN_IF_ERROR(Poison(bench, y_at));
          RENGA_RETURN_IF_ERROR(bench.Launch(variant, args_of(layers.count - 1)));
          RENGA_ASSIGN_OR_RETURN(const auto y, bench.Download<float>(y_at, tokens * shape.n));
          const std::string wrong = FirstWrong(y, shape.n, exact, all_tokens, residual);
          if (!wrong.empty()) row.remark = StrCat(variant.kernel, ": ", wrong);
          checked = true;
        }
        RENGA_ASSIGN_OR_RETURN(const double us, bench.Microseconds([&]() -> absl::Status {
          for (int i = 0; i < layers.count; ++i) {
            RENGA_RETURN_IF_ERROR(bench.Launch(variant, args_of(i)));
          }
          return absl::OkStatus();
        }));
        if (row.us == 0 || us / layers.count < row.us) {
          row.us = us / layers.count;
          row.label = variant.label;
        }
        if (blocks >= layers.layout.tiles) break;  // more blocks would have nothing to do
      }
    }
    if (row.us == 0) row.label = StrCat("needs ", least_shared, " bytes of shared memory a block");
    table->Add(row);
  }
  return absl::OkStatus();
}

absl::Status BenchPrefill(const CudaBench& bench, DType type, const Shape& shape, Table* table) {
  RENGA_ASSIGN_OR_RETURN(const Layers layers, MakeLayers(bench, type, shape, kWeightBytes, 3));
  const int launches = std::min(layers.count, 4);
  for (const int64_t tokens : kPrefillTokens) {
    Random random(static_cast<uint32_t>(tokens));
    const std::vector<float> x = random.Vector(tokens * shape.k, 1);
    RENGA_ASSIGN_OR_RETURN(const cuda::Memory x_at, bench.Upload(x));
    RENGA_ASSIGN_OR_RETURN(const cuda::Memory half_at, bench.Allocate(tokens * shape.k * 2));
    RENGA_ASSIGN_OR_RETURN(const cuda::Memory factors_at, bench.Allocate(tokens * 4));
    RENGA_ASSIGN_OR_RETURN(const cuda::Memory y_at, bench.Allocate(tokens * shape.n * 4));
    const int64_t split_tokens = std::min(tokens, kMostSplitTokens);
    RENGA_ASSIGN_OR_RETURN(const cuda::Memory parts_at,
                           bench.Allocate(kMostSplits * split_tokens * shape.n * 4));
    RENGA_ASSIGN_OR_RETURN(const cuda::Memory tickets_at,
                           bench.Upload(std::vector<uint32_t>(shape.n / 16 * tokens / 16)));
    // Some tokens of the first and of the last tile.
    std::vector<int64_t> some_tokens;
    std::vector<double> some_x;
    for (const int64_t t : {int64_t{0}, int64_t{1}, int64_t{9}, tokens / 2 + 3, tokens - 1}) {
      some_tokens.push_back(t);
      some_x.insert(some_x.end(), x.begin() + t * shape.k, x.begin() + (t + 1) * shape.k);
    }
    const emulator::Product exact = emulator::Multiply(layers.pool, some_x, some_tokens.size());
    kernels::HalfRowsArgs half = {};
    half.x = reinterpret_cast<const float*>(x_at.data());
    half.y = reinterpret_cast<kernels::Half*>(half_at.data());
    half.factors = reinterpret_cast<float*>(factors_at.data());
    const auto write_half_rows = [&](bool wgmma) -> absl::Status {
      RENGA_RETURN_IF_ERROR(bench.Launch(Variant{HalfRowsName(shape, wgmma),
                                                 {static_cast<unsigned>(tokens), 1, 1},
                                                 kHalfRowsThreads,
                                                 2 * kHalfRowsThreads / 32 * 4,
                                                 ""},
                                         half));
      return bench.stream().Synchronize();
    };
    RENGA_RETURN_IF_ERROR(write_half_rows(false));
    const auto args_of = [&](int layer) {
      kernels::MatmulArgs args = {};
      args.x = half.y;
      args.factors = half.factors;
      args.weight = layers.At(layer);
      args.y = reinterpret_cast<float*>(y_at.data());
      args.tokens = static_cast<int>(tokens);
      return args;
    };

    const Row no_row = {.what = shape.what,
                        .type = std::string(Name(type)),
                        .tokens = tokens,
                        .bytes = static_cast<double>(layers.layout.bytes),
                        .flops = 2.0 * static_cast<double>(shape.n) * static_cast<double>(shape.k) *
                                 static_cast<double>(tokens)};
    Row row = no_row;
    // Checks the variant, then times it. `args` of a layer.
    const auto time = [&](Variant& variant, auto args) -> absl::Status {
      RENGA_RETURN_IF_ERROR(Poison(bench, y_at));
      RENGA_RETURN_IF_ERROR(bench.Launch(variant, args(layers.count - 1)));
      RENGA_ASSIGN_OR_RETURN(const auto y, bench.Download<float>(y_at, tokens * shape.n));
      const std::string wrong = FirstWrong(y, shape.n, exact, some_tokens, {});
      if (!wrong.empty()) row.remark = StrCat(variant.kernel, ": ", wrong);
      RENGA_ASSIGN_OR_RETURN(const double us, bench.Microseconds([&]() -> absl::Status {
        for (int i = 0; i < launches; ++i) {
          RENGA_RETURN_IF_ERROR(bench.Launch(variant, args(i)));
        }
        return absl::OkStatus();
      }));
      if (row.us == 0 || us / launches < row.us) {
        row.us = us / launches;
        row.label = variant.label;
      }
      return absl::OkStatus();
    };
    const auto blocks = [](int64_t count, int64_t of) {
      return static_cast<unsigned>((count + of - 1) / of);
    };
    for (const MatmulTile& tile : kMatmulTiles) {
      const codegen::MatmulShape matmul = {.step_blocks = layers.layout.step_blocks,
                                           .tile_tokens = tile.tile_tokens,
                                           .row_tiles = tile.row_tiles,
                                           .row_warps = tile.row_warps,
                                           .depth_warps = tile.depth_warps,
                                           .stages = tile.stages};
      Variant variant = {MatmulName(type, shape, tile),
                         {blocks(layers.layout.tiles, matmul.tiles_of_block()),
                          blocks(tokens, tile.tile_tokens), 1},
                         static_cast<unsigned>(matmul.threads()),
                         matmul.shared_bytes(),
                         ""};
      RENGA_ASSIGN_OR_RETURN(const int fit, bench.BlocksPerSm(variant));
      if (fit == 0) continue;
      variant.label = StrCat(tile.tile_tokens, " tokens, ", tile.row_tiles, " x ", tile.row_warps,
                             " tiles, depth ", tile.depth_warps, ", ", fit, " blocks/SM");
      RENGA_RETURN_IF_ERROR(time(variant, args_of));
    }
    table->Add(row);
    if (bench.gpu().context->gpu().sm != kWgmmaSm) continue;

    RENGA_RETURN_IF_ERROR(write_half_rows(true));
    for (const WgmmaTile& tile : kWgmmaTiles) {
      if (tile.splits > 1 && tokens > kMostSplitTokens) continue;
      row = no_row;
      Variant variant = {WgmmaName(type, shape, tile),
                         {blocks(tokens, tile.tile_tokens), blocks(shape.n, 128),
                          static_cast<unsigned>(tile.splits)},
                         384,
                         codegen::MatmulWgmmaShared(tile.tile_tokens, tile.stages, tile.splits),
                         StrCat("wgmma, ", tile.tile_tokens, " tokens, k in ", tile.splits)};
      plan::TensorMapSpec spec{
          .address = reinterpret_cast<uint64_t>(half_at.data()),
          .type = DType::kF16,
          .axes = 2,
          .sizes = {static_cast<uint64_t>(shape.k), static_cast<uint64_t>(tokens), 1},
          .strides = {0, static_cast<uint64_t>(2 * shape.k), 0},
          .tile = {64, static_cast<uint32_t>(tile.tile_tokens), 1},
          .swizzle = plan::Swizzle::k128Bytes};
      RENGA_ASSIGN_OR_RETURN(const plan::EncodedTensorMap map,
                             cuda::EncodeTensorMap(*bench.gpu().context, spec));
      RENGA_RETURN_IF_ERROR(time(variant, [&](int layer) {
        kernels::MatmulWgmmaArgs args = {};
        std::memcpy(&args.map, map.data(), map.size());
        args.product = args_of(layer);
        args.parts = reinterpret_cast<float*>(parts_at.data());
        args.tickets = reinterpret_cast<uint32_t*>(tickets_at.data());
        return args;
      }));
      table->Add(row);
    }
  }
  return absl::OkStatus();
}

template <typename Function>
void ForEachDecode(Function function) {
  for (const DType type : kMainTypes) {
    for (const Shape& shape : kShapes) function(type, shape);
  }
  for (const DType type : kOtherTypes) function(type, kShapes[0]);
}

template <typename Function>
void ForEachPrefill(Function function) {
  for (const DType type : kMainTypes) {
    for (const Shape& shape : kShapes) {
      // Not the head: it has no more rows than there are sequences.
      if (shape.n < 100000) function(type, shape);
    }
  }
}

}  // namespace

KernelTexts DecodeTexts() {
  KernelTexts texts;
  ForEachDecode([&](DType type, const Shape& shape) {
    for (const int tokens : kDecodeTokens) {
      for (const int warps : kDecodeWarps) {
        texts[DecodeName(type, shape, tokens, warps)] = DecodeText(type, shape, tokens, warps);
      }
    }
  });
  return texts;
}

KernelTexts PrefillTexts() {
  KernelTexts texts;
  ForEachPrefill([&](DType type, const Shape& shape) {
    for (const MatmulTile& tile : kMatmulTiles) {
      texts[MatmulName(type, shape, tile)] = MatmulText(type, shape, tile);
    }
    for (const WgmmaTile& tile : kWgmmaTiles) {
      texts[WgmmaName(type, shape, tile)] = WgmmaText(type, shape, tile);
    }
    for (const bool order : {false, true}) {
      texts[HalfRowsName(shape, order)] = HalfRowsText(shape, order);
    }
  });
  return texts;
}

void BenchDecodeProducts(const CudaBench& bench, Table* table) {
  table->Section("Decode products: y = W rms_norm(x), or W x + y; layers in turn in one graph");
  ForEachDecode([&](DType type, const Shape& shape) {
    table->AddFailure(shape.what, Name(type), BenchDecode(bench, type, shape, table));
  });
}

void BenchPrefillProducts(const CudaBench& bench, Table* table) {
  table->Section("Products of many tokens, activations in f16 already");
  ForEachPrefill([&](DType type, const Shape& shape) {
    table->AddFailure(shape.what, Name(type), BenchPrefill(bench, type, shape, table));
  });
}

}  // namespace renga::bench
