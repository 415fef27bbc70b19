// Products for many tokens on sm_90a: HalfRows in wgmma's order, then matmul_wgmma.
#include <cmath>

#include "codegen/emit/kernel_shapes.h"
#include "codegen/kernels/args.cuh"
#include "tests/emulator/kernels/support.h"
#include "tests/emulator/kernels/weights.h"
#include "tests/emulator/tensor_map.h"

namespace renga::emulator {
namespace {

struct WgmmaCase {
  DType type;
  int64_t n, k;
  int tokens, tile_tokens, stages;
  bool norm = false, bias = false, residual = false;
  int splits = 1, x_parts = 1;
  int64_t pitch_beyond = 0;  // x serves a weight with longer padding too

  std::string Name() const {
    return StrCat("wgmma_", renga::Name(type), "_", n, "_", k,
                  splits > 1 ? StrCat("_in_", splits) : "", x_parts == 2 ? "_two_parts" : "");
  }
  int64_t Pitch() const { return MmaLayoutOf(type, n, k)->padded_k() + pitch_beyond; }
};

// Each type with the largest tile, which has the fewest registers to spare, and the smaller ones.
const WgmmaCase kCases[] = {
    {DType::kQ4_K, 150, 512, 70, 64, 3, true, true, true},
    {DType::kQ4_K, 33, 256, 258, 256, 5},
    {DType::kQ5_K, 33, 256, 10, 256, 2},
    {DType::kQ6_K, 33, 768, 10, 256, 4, true},
    // Steps of a single chunk, an odd and an even number of them.
    {DType::kQ4_0, 33, 192, 10, 256, 2, true, false, true},
    {DType::kF16, 140, 128, 66, 64, 3, false, true},
    {DType::kF16, 20, 192, 5, 256, 5},
    {DType::kF16, 64, 2048, 5, 64, 6},
    {DType::kBF16, 33, 172, 10, 256, 3},
    {DType::kQ8_0, 33, 640, 10, 256, 3},
    {DType::kQ4_1, 20, 192, 5, 256, 2},
    {DType::kQ5_0, 20, 896, 5, 256, 3},
    {DType::kQ5_1, 20, 256, 5, 256, 2},
    {DType::kIQ4_NL, 20, 256, 130, 128, 3},
    {DType::kIQ4_NL, 20, 320, 5, 256, 3},
    {DType::kMXFP4, 20, 256, 5, 256, 2},
    // Blocks that divide k: equal shares, an odd number of chunks each, a short last one.
    {DType::kQ4_K, 150, 1024, 70, 64, 3, true, true, true, 4},
    {DType::kF16, 140, 448, 66, 64, 3, false, false, true, 3},
    {DType::kQ6_K, 33, 1280, 130, 128, 4, true, false, false, 2},
    // x in two parts: steps of several chunks and of one, a stage more than parts and many, blocks
    // that divide k, x with longer rows.
    {DType::kF16, 140, 256, 66, 64, 3, true, true, true, 1, 2},
    {DType::kF16, 20, 192, 5, 256, 5, false, false, false, 1, 2, 64},
    {DType::kF16, 140, 448, 70, 64, 2, false, false, true, 3, 2},
    {DType::kQ4_K, 33, 512, 130, 128, 6, true, false, false, 1, 2},
    {DType::kQ6_K, 33, 1280, 5, 128, 6, true, false, false, 2, 2, 256},
};

const CaseLibrary* Library() {
  static const CaseLibrary* library = [] {
    std::map<std::string, std::string> texts;
    for (const WgmmaCase& c : kCases) {
      texts[c.Name()] = StrCat(
          R"(#include "codegen/kernels/matmul_wgmma.cuh"
using namespace renga::kernels;
struct Config {
  using Weight = )",
          TestWeight{c.type, c.n, c.k, {}, {}, {}, {}, {}}.Name(c.x_parts),
          ";\n  static constexpr int kXParts = ", c.x_parts, ", kPitch = ", c.Pitch(),
          ";\n  static constexpr int kTileTokens = ", c.tile_tokens, ", kStages = ", c.stages,
          ", kSplits = ", c.splits,
          ";\n};\nextern \"C\" __global__ void __launch_bounds__(384, 1) ", c.Name(),
          "(const __grid_constant__ MatmulWgmmaArgs args) { "
          "MatmulWgmma<Config>(args); }\n");
      texts[StrCat("half_rows_", c.Name())] = StrCat(
          R"(#include "codegen/kernels/half_rows.cuh"
using namespace renga::kernels;
struct Config {
  static constexpr int kK = )",
          c.k, ", kPaddedK = ", c.Pitch(), ", kXParts = ", c.x_parts,
          ", kThreads = 64;\n  static constexpr bool kWgmmaOrder = true, kNorm = ",
          c.norm ? "true" : "false",
          ";\n  static constexpr float kEps = 1e-5f;\n};\nextern \"C\" __global__ void half_rows_",
          c.Name(), "(const HalfRowsArgs args) { HalfRows<Config>(args); }\n");
    }
    return CompileCases(texts).release();
  }();
  return library;
}

RENGA_EACH_CASE(MatmulWgmmaTest, WgmmaCase, kCases, Name());

TEST_P(MatmulWgmmaTest, AgainstPlainLoops) {
  RENGA_NEED_KERNELS(Library());
  const WgmmaCase& c = GetParam();
  Random random(static_cast<uint32_t>(c.n + c.k));
  const TestWeight weight = MakeWeight(c.type, c.n, c.k, 0.02f, &random);
  const int64_t pitch = c.x_parts * c.Pitch();
  std::vector<float> x = random.Vector(c.tokens * c.k, 3);
  x[5] *= 1e5f;  // beyond f16
  const std::vector<float> norm = c.norm ? random.Vector(c.k, 2) : std::vector<float>();
  const std::vector<float> bias = random.Vector(c.n, 4),
                           residual = random.Vector(c.tokens * c.n, 4);
  const auto y = UnderAllSchedules<float>(*Library(), [&](KernelRun& run) {
    kernels::HalfRowsArgs half = {};
    half.x = run.Input("x", x);
    if (c.norm) half.norm = run.Input("norm", norm);
    auto* half_x = run.Output<uint16_t>("half_x", c.tokens * pitch);
    half.y = reinterpret_cast<kernels::Half*>(half_x);
    half.factors = run.Output<float>("factors", c.tokens);
    run.Launch(StrCat("half_rows_", c.Name()), {static_cast<unsigned>(c.tokens)}, 64, 16, half);
    kernels::MatmulWgmmaArgs args = {};
    run.EncodeMap({.base = half_x,
                   .sizes = {static_cast<uint64_t>(pitch), static_cast<uint64_t>(c.tokens)},
                   .stride_bytes = {static_cast<uint64_t>(2 * pitch)},
                   .box = {64, static_cast<uint32_t>(c.tile_tokens)},
                   .swizzle = Swizzle::k128Bytes},
                  &args.map);
    if (testing::Test::HasFatalFailure()) return std::vector<float>();
    args.product.factors = half.factors;
    args.product.weight = run.Input("weight", weight.packed);
    if (c.bias) args.product.bias = run.Input("bias", bias);
    float* y = c.residual ? run.Input("y", residual) : run.Output<float>("y", c.tokens * c.n);
    args.product.y = y;
    if (c.residual) args.product.residual = y;
    args.product.tokens = c.tokens;
    const unsigned grid_x = static_cast<unsigned>((c.tokens + c.tile_tokens - 1) / c.tile_tokens),
                   grid_y = static_cast<unsigned>((c.n + 127) / 128);
    const std::vector<uint32_t> zeros(grid_x * grid_y);
    if (c.splits > 1) {
      args.parts = run.Output<float>("parts", c.splits * c.tokens * c.n);
      args.tickets = run.Input("tickets", zeros);
    }
    run.Launch(c.Name(), {grid_x, grid_y, static_cast<unsigned>(c.splits)}, 384,
               codegen::MatmulWgmmaShared(c.tile_tokens, c.stages, c.splits), args);
    if (testing::Test::HasFatalFailure()) return std::vector<float>();
    if (c.splits > 1) {
      EXPECT_EQ(run.Read(args.tickets, zeros.size()), zeros);
    }
    return run.Read(y, c.tokens * c.n);
  });
  if (HasFatalFailure()) return;
  const std::vector<double> h = Normed(x, norm, 1e-5, c.tokens);
  const Product exact = c.x_parts == 2 && c.type == DType::kF16
                            ? MultiplyInTwoParts(weight, h, c.tokens)
                            : Multiply(weight, h, c.tokens);
  for (int64_t i = 0; i < c.tokens * c.n; ++i) {
    const double rest = (c.bias ? bias[i % c.n] : 0.0f) + double{c.residual ? residual[i] : 0.0f};
    const double expected = exact.values[i] + rest;
    ASSERT_NEAR(y[i], expected, exact.allowed[i] + 1e-6 * (std::abs(expected) + std::abs(rest)))
        << "token " << i / c.n << " row " << i % c.n;
  }
}

}  // namespace
}  // namespace renga::emulator
