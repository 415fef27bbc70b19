// Products for many tokens: HalfRows, then matmul, of every weight type, with ragged rows, tokens
// and k.
#include <cmath>

#include "codegen/emit/kernel_shapes.h"
#include "codegen/kernels/args.cuh"
#include "tests/emulator/kernels/support.h"
#include "tests/emulator/kernels/weights.h"

namespace renga::emulator {
namespace {

struct MatmulCase {
  DType type;
  int64_t n, k;
  int tokens, tile_tokens, row_tiles, row_warps, depth_warps, stages;
  bool norm = false, bias = false, residual = false;
  int64_t pitch_beyond = 0;  // x serves a weight with longer padding too
  int x_parts = 1;

  std::string Name() const {
    return StrCat("matmul_", renga::Name(type), "_", n, "_", k, "_", depth_warps,
                  x_parts == 2 ? "_two_parts" : "");
  }
  MmaLayout Layout() const { return MmaLayoutOf(type, n, k).value(); }
  int64_t Pitch() const { return Layout().padded_k() + pitch_beyond; }
};

const MatmulCase kCases[] = {
    {DType::kF32, 70, 100, 21, 16, 1, 2, 1, 2, true, true, true},
    {DType::kF16, 70, 172, 21, 16, 2, 1, 1, 3, true},
    {DType::kBF16, 33, 171, 9, 16, 1, 2, 2, 2, false, false, true},
    {DType::kQ8_0, 70, 352, 21, 16, 1, 2, 2, 3, true, true, false, 64},
    {DType::kQ4_0, 49, 896, 17, 8, 2, 2, 1, 4, true},
    {DType::kQ4_1, 33, 192, 10, 16, 1, 2, 1, 2},
    {DType::kQ5_0, 33, 288, 10, 16, 1, 1, 2, 3, true, false, true},
    {DType::kQ5_1, 17, 320, 30, 32, 1, 2, 1, 3},
    {DType::kIQ4_NL, 33, 64, 12, 16, 1, 1, 1, 2},
    {DType::kMXFP4, 33, 160, 12, 16, 1, 1, 1, 2},
    {DType::kQ4_K, 70, 768, 11, 16, 1, 2, 4, 3, true, true, true},  // a warp without steps
    {DType::kQ8_0, 18, 1152, 11, 16, 1, 1, 8, 3, false, false, true},
    {DType::kQ4_K, 100, 512, 66, 64, 2, 2, 1, 4, true},
    {DType::kQ5_K, 33, 512, 10, 16, 1, 2, 1, 2},
    {DType::kQ6_K, 33, 512, 10, 16, 1, 2, 2, 2},
    // Rows that HalfRows takes a number at a time, with a norm; and that its threads cannot keep.
    {DType::kF16, 20, 171, 5, 8, 1, 1, 1, 2, true},
    {DType::kQ8_0, 18, 2304, 3, 8, 1, 1, 2, 3, true},
    // x in two parts: chunks of 64 and of 32 k, warps that divide k, x with longer rows; more and
    // fewer stages than parts.
    {DType::kF16, 70, 172, 21, 16, 2, 1, 1, 3, true, false, false, 0, 2},
    {DType::kF16, 33, 320, 9, 16, 1, 2, 2, 2, false, true, true, 64, 2},
    {DType::kF32, 70, 100, 21, 16, 1, 2, 1, 2, true, true, true, 0, 2},
    {DType::kQ8_0, 18, 1152, 11, 16, 1, 1, 8, 3, false, false, true, 0, 2},
    {DType::kQ4_K, 100, 512, 66, 64, 2, 2, 1, 4, true, false, false, 256, 2},
};

const CaseLibrary* Library() {
  static const CaseLibrary* library = [] {
    std::map<std::string, std::string> texts;
    for (const MatmulCase& c : kCases) {
      texts[c.Name()] = StrCat(
          R"(#include "codegen/kernels/matmul.cuh"
using namespace renga::kernels;
struct Config {
  using Weight = )",
          TestWeight{c.type, c.n, c.k, {}, {}, {}, {}, {}}.Name(c.x_parts),
          ";\n  static constexpr int kXParts = ", c.x_parts, ", kPitch = ", c.Pitch(),
          ", kTileTokens = ", c.tile_tokens, ";\n  static constexpr int kRowTiles = ", c.row_tiles,
          ", kRowWarps = ", c.row_warps, ", kDepthWarps = ", c.depth_warps,
          ", kStages = ", c.stages, ";\n};\nextern \"C\" __global__ void ", c.Name(),
          "(const MatmulArgs args) { Matmul<Config>(args); }\n");
      texts[StrCat("half_rows_", c.Name())] = StrCat(
          R"(#include "codegen/kernels/half_rows.cuh"
using namespace renga::kernels;
struct Config {
  static constexpr int kK = )",
          c.k, ", kPaddedK = ", c.Pitch(), ", kXParts = ", c.x_parts,
          ", kThreads = 64;\n  static constexpr bool kNorm = ", c.norm ? "true" : "false",
          ";\n  static constexpr bool kWgmmaOrder = false;\n  static constexpr float kEps = "
          "1e-5f;\n"
          "};\nextern \"C\" __global__ void half_rows_",
          c.Name(), "(const HalfRowsArgs args) { HalfRows<Config>(args); }\n");
    }
    return CompileCases(texts).release();
  }();
  return library;
}

RENGA_EACH_CASE(MatmulTest, MatmulCase, kCases, Name());

TEST_P(MatmulTest, AgainstPlainLoops) {
  RENGA_NEED_KERNELS(Library());
  const MatmulCase& c = GetParam();
  Random random(static_cast<uint32_t>(c.n + c.k));
  const TestWeight weight = MakeWeight(c.type, c.n, c.k, 0.02f, &random);
  std::vector<float> x = random.Vector(c.tokens * c.k, 3);
  x[5] *= 1e5f;  // beyond f16
  const std::vector<float> norm = c.norm ? random.Vector(c.k, 2) : std::vector<float>();
  const std::vector<float> bias = random.Vector(c.n, 4),
                           residual = random.Vector(c.tokens * c.n, 4);
  const codegen::MatmulShape shape = {.step_blocks = weight.layout.step_blocks,
                                      .tile_tokens = c.tile_tokens,
                                      .row_tiles = c.row_tiles,
                                      .row_warps = c.row_warps,
                                      .depth_warps = c.depth_warps,
                                      .stages = c.stages};
  const auto y = UnderAllSchedules<float>(*Library(), [&](KernelRun& run) {
    kernels::HalfRowsArgs half = {};
    half.x = run.Input("x", x);
    if (c.norm) half.norm = run.Input("norm", norm);
    auto* half_x = run.Output<uint16_t>("half_x", c.tokens * c.x_parts * c.Pitch());
    half.y = reinterpret_cast<kernels::Half*>(half_x);
    half.factors = run.Output<float>("factors", c.tokens);
    run.Launch(StrCat("half_rows_", c.Name()), {static_cast<unsigned>(c.tokens)}, 64, 16, half);
    kernels::MatmulArgs args = {};
    args.x = half.y;
    args.factors = half.factors;
    args.weight = run.Input("weight", weight.packed);
    if (c.bias) args.bias = run.Input("bias", bias);
    args.y = c.residual ? run.Input("y", residual) : run.Output<float>("y", c.tokens * c.n);
    if (c.residual) args.residual = args.y;
    args.tokens = c.tokens;
    const auto blocks = [](int64_t count, int64_t of) {
      return static_cast<unsigned>((count + of - 1) / of);
    };
    run.Launch(
        c.Name(),
        {blocks(weight.layout.tiles, shape.tiles_of_block()), blocks(c.tokens, c.tile_tokens)},
        static_cast<unsigned>(shape.threads()), shape.shared_bytes(), args);
    if (testing::Test::HasFatalFailure()) return std::vector<float>();
    return run.Read(args.y, c.tokens * c.n);
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
