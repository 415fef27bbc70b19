// linear, norm_linear, linear_add and gate_up for a few tokens: every weight type at sizes that
// fill neither tiles nor steps nor blocks.
#include <memory>

#include "codegen/emit/kernel_shapes.h"
#include "codegen/kernels/args.cuh"
#include "tests/emulator/kernels/support.h"
#include "tests/emulator/kernels/weights.h"

namespace renga::emulator {
namespace {

using kernels::GateUpArgs;
using kernels::LinearArgs;

struct LinearCase {
  DType type;
  int max_tokens;
  int64_t n, k;
  int warps;
  bool norm, bias, residual;
  int x_parts = 1;

  std::string Name() const {
    return StrCat("linear_", renga::Name(type), "_", max_tokens, "_", n, "_", k,
                  x_parts == 2 ? "_two_parts" : "");
  }
};

const LinearCase kLinearCases[] = {
    {DType::kF32, 1, 37, 172, 4, true, true, true},
    {DType::kF32, 3, 20, 29, 4, false, false, true},
    {DType::kF16, 3, 37, 172, 4, true, true, true},
    {DType::kBF16, 2, 37, 171, 4, true, false, false},
    {DType::kQ8_0, 1, 40, 96, 2, true, true, true},
    {DType::kQ8_0, 8, 24, 256, 4, true, false, false},
    {DType::kQ4_0, 1, 40, 576, 4, false, false, true},
    {DType::kQ4_0, 5, 40, 896, 4, true, false, false},
    {DType::kQ4_1, 4, 17, 192, 4, true, true, false},
    {DType::kQ5_0, 8, 33, 896, 4, true, false, false},
    {DType::kQ5_0, 2, 33, 32, 4, true, false, false},
    {DType::kQ5_1, 12, 33, 320, 4, true, false, true},
    {DType::kIQ4_NL, 7, 33, 320, 4, true, false, false},
    {DType::kMXFP4, 2, 33, 512, 4, true, false, false},
    {DType::kQ4_K, 1, 70, 1024, 2, true, false, false},
    {DType::kQ4_K, 6, 37, 512, 4, true, false, false},
    {DType::kQ5_K, 3, 37, 768, 2, false, true, false},
    {DType::kQ6_K, 8, 37, 768, 2, false, false, true},
    // More than the threads' registers hold of a row: by single values and by fours.
    {DType::kF16, 1, 18, 2083, 2, true, false, false},
    {DType::kQ8_0, 3, 18, 2304, 2, false, true, true},
    // x in two parts: columns for two products of which half the tokens take one, for one, for
    // three; single values; rows beyond the registers.
    {DType::kF16, 8, 37, 320, 4, true, true, true, 2},
    {DType::kF16, 5, 37, 171, 4, true, false, false, 2},
    {DType::kF16, 3, 20, 64, 2, false, false, true, 2},
    {DType::kF16, 12, 18, 192, 4, true, false, false, 2},
    {DType::kF16, 2, 18, 2304, 2, false, true, false, 2},
    {DType::kF32, 2, 20, 29, 4, false, false, true, 2},
    {DType::kQ4_K, 8, 37, 512, 4, true, false, false, 2},
    {DType::kQ5_0, 8, 33, 896, 4, true, false, false, 2},
};

std::string NameOf(DType type, int64_t n, int64_t k, int x_parts) {
  return TestWeight{type, n, k, {}, {}, {}, {}, {}}.Name(x_parts);
}

struct GateUpCase {
  DType gate, up;
  int max_tokens;
  int64_t n, k;
  std::string activation;
  int x_parts = 1;

  std::string Name() const {
    return StrCat("gate_up_", renga::Name(gate), "_", renga::Name(up), "_", max_tokens,
                  x_parts == 2 ? "_two_parts" : "");
  }
};

const GateUpCase kGateUpCases[] = {
    {DType::kQ4_K, DType::kQ4_K, 2, 37, 512, "kSilu"},
    {DType::kQ5_0, DType::kQ8_0, 3, 37, 224, "kGeluTanh"},
    {DType::kQ5_0, DType::kQ8_0, 7, 37, 224, "kSilu", 2},
};

const CaseLibrary* Library() {
  static const CaseLibrary* library = [] {
    std::map<std::string, std::string> texts;
    for (const LinearCase& c : kLinearCases) {
      texts[c.Name()] = StrCat(R"(#include "codegen/kernels/linear.cuh"
using namespace renga::kernels;
struct Config {
  using Weight = )",
                               NameOf(c.type, c.n, c.k, c.x_parts), R"(;
  static constexpr int kTokens = )",
                               c.max_tokens, ", kWarps = ", c.warps, ", kXParts = ", c.x_parts, R"(;
  static constexpr bool kNorm = )",
                               c.norm ? "true" : "false", R"(;
  static constexpr float kEps = 1e-5f;
};
extern "C" __global__ void )",
                               c.Name(), "(const LinearArgs args) { Linear<Config>(args); }\n");
    }
    for (const GateUpCase& c : kGateUpCases) {
      texts[c.Name()] = StrCat(R"(#include "codegen/kernels/gate_up.cuh"
using namespace renga::kernels;
struct Config {
  using Gate = )",
                               NameOf(c.gate, c.n, c.k, c.x_parts), R"(;
  using Up = )",
                               NameOf(c.up, c.n, c.k, c.x_parts), R"(;
  static constexpr int kTokens = )",
                               c.max_tokens, ", kXParts = ", c.x_parts, R"(, kWarps = 4;
  static constexpr bool kNorm = true;
  static constexpr float kEps = 1e-5f;
  static constexpr Activation kActivation = Activation::)",
                               c.activation, R"(;
};
extern "C" __global__ void )",
                               c.Name(), "(const GateUpArgs args) { GateUp<Config>(args); }\n");
    }
    return CompileCases(texts).release();
  }();
  return library;
}

// `weights` and `values` may be far beyond f16: a power of two takes care of either.
void TestLinear(const LinearCase& c, int tokens, float weights, float values) {
  SCOPED_TRACE(
      StrCat(c.Name(), " of ", tokens, " tokens, weights of ", weights, ", x of ", values));
  Random random(static_cast<uint32_t>(c.n * 31 + tokens));
  const TestWeight weight = MakeWeight(c.type, c.n, c.k, weights, &random);
  std::vector<float> x = random.Vector(tokens * c.k, values);
  x[3] *= 100;  // an outlier
  const std::vector<float> norm = c.norm ? random.Vector(c.k, 2) : std::vector<float>();
  const std::vector<float> bias = c.bias ? random.Vector(c.n, 40) : std::vector<float>();
  const std::vector<float> residual =
      c.residual ? random.Vector(tokens * c.n, 5) : std::vector<float>();

  const auto run = [&](KernelRun& run) {
    LinearArgs args = {};
    args.x = run.Input("x", x);
    if (c.norm) args.norm = run.Input("norm", norm);
    args.weight = run.Input("weight", weight.packed);
    if (c.bias) args.bias = run.Input("bias", bias);
    args.y = c.residual ? run.Input("y", residual) : run.Output<float>("y", tokens * c.n);
    if (c.residual) args.residual = args.y;
    args.tokens = tokens;
    const int64_t shared =
        codegen::LinearShared(c.warps, c.max_tokens, weight.layout.padded_k(), c.x_parts)
            .At(tokens);
    run.Launch(c.Name(), {2}, c.warps * 32, shared, args);
    return run.Read(args.y, tokens * c.n);
  };
  const std::vector<float> y = UnderAllSchedules<float>(*Library(), run);
  if (testing::Test::HasFatalFailure()) return;
  const std::vector<double> h = Normed(x, norm, 1e-5, tokens);
  const Product exact = c.x_parts == 2 && c.type == DType::kF16
                            ? MultiplyInTwoParts(weight, h, tokens)
                            : Multiply(weight, h, tokens);
  for (int64_t i = 0; i < tokens * c.n; ++i) {
    const double rest = (c.bias ? bias[i % c.n] : 0.0f) + double{c.residual ? residual[i] : 0.0f};
    const double expected = exact.values[i] + rest;
    // What is added is rounded to f32 with the sum.
    const double allowed = exact.allowed[i] + 1e-6 * (std::abs(expected) + std::abs(rest));
    ASSERT_NEAR(y[i], expected, allowed) << "token " << i / c.n << " row " << i % c.n;
  }
}

RENGA_EACH_CASE(LinearTest, LinearCase, kLinearCases, Name());

TEST_P(LinearTest, AgainstPlainLoops) {
  RENGA_NEED_KERNELS(Library());
  TestLinear(GetParam(), GetParam().max_tokens, 0.02f, 1);
  if (HasFatalFailure()) return;
  TestLinear(GetParam(), (GetParam().max_tokens + 1) / 2, 0.02f, 1);
}

TEST_P(LinearTest, ValuesBeyondF16) {
  RENGA_NEED_KERNELS(Library());
  std::vector<std::pair<float, float>> sizes = {{0.02f, 3e5f}, {0.02f, 1e-9f}};
  if (GetParam().type != DType::kF16) sizes.insert(sizes.end(), {{2000.0f, 1.0f}, {1e-4f, 1.0f}});
  for (const auto& [weights, values] : sizes) {
    TestLinear(GetParam(), 1, weights, values);
    if (HasFatalFailure()) return;
  }
}

double Activated(const std::string& activation, double x) {
  if (activation == "kSilu") return x / (1 + std::exp(-x));
  return 0.5 * x * (1 + std::tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
}

RENGA_EACH_CASE(GateUpTest, GateUpCase, kGateUpCases, Name());

TEST_P(GateUpTest, AgainstPlainLoops) {
  RENGA_NEED_KERNELS(Library());
  const GateUpCase& c = GetParam();
  const int tokens = c.max_tokens;
  Random random(11);
  const TestWeight gate = MakeWeight(c.gate, c.n, c.k, 0.02f, &random);
  const TestWeight up = MakeWeight(c.up, c.n, c.k, 0.02f, &random);
  const std::vector<float> x = random.Vector(tokens * c.k, 3), norm = random.Vector(c.k, 2);
  const std::vector<float> gate_bias = random.Vector(c.n, 4), up_bias = random.Vector(c.n, 4);
  const std::vector<float> y = UnderAllSchedules<float>(*Library(), [&](KernelRun& run) {
    GateUpArgs args = {};
    args.x = run.Input("x", x);
    args.norm = run.Input("norm", norm);
    args.gate = run.Input("gate", gate.packed);
    args.up = run.Input("up", up.packed);
    args.gate_bias = run.Input("gate_bias", gate_bias);
    args.up_bias = run.Input("up_bias", up_bias);
    args.y = run.Output<float>("y", tokens * c.n);
    args.tokens = tokens;
    const int64_t padded_k = std::max(gate.layout.padded_k(), up.layout.padded_k());
    run.Launch(c.Name(), {3}, 128, codegen::GateUpShared(4, tokens, padded_k, c.x_parts).At(tokens),
               args);
    return run.Read(args.y, tokens * c.n);
  });
  if (HasFatalFailure()) return;
  const std::vector<double> h = Normed(x, norm, 1e-5, tokens);
  const Product g = Multiply(gate, h, tokens), u = Multiply(up, h, tokens);
  for (int64_t i = 0; i < tokens * c.n; ++i) {
    const double a = g.values[i] + gate_bias[i % c.n], b = u.values[i] + up_bias[i % c.n];
    // Neither activation is steeper than 1.2.
    const double da = 1.2 * g.allowed[i], db = u.allowed[i], activated = Activated(c.activation, a);
    ASSERT_NEAR(y[i], activated * b,
                da * std::abs(b) + db * std::abs(activated) + da * db + 1e-5 * std::abs(a * b))
        << "token " << i / c.n << " row " << i % c.n;
  }
}

// A kernel that overlaps the one whose result it reads: it must not read that before its wait.
TEST(Linear, WaitsForTheKernelBefore) {
  RENGA_NEED_KERNELS(Library());
  const LinearCase& c = kLinearCases[1];  // 20 x 29
  Random random(5);
  const TestWeight weight = MakeWeight(c.type, c.n, c.k, 0.02f, &random);
  const std::vector<float> x = random.Vector(3 * c.k, 1);
  const auto y = UnderAllSchedules<float>(*Library(), [&](KernelRun& run) {
    LinearArgs args = {};
    args.x = run.Input("x", x);
    args.weight = run.Input("weight", weight.packed);
    float* first = run.Output<float>("first", 3 * c.n);
    args.y = first;
    args.tokens = 3;
    const int64_t shared = codegen::LinearShared(c.warps, 3, weight.layout.padded_k()).At(3);
    run.Launch(c.Name(), {2}, c.warps * 32, shared, args);
    args.residual = first;
    args.y = run.Output<float>("second", 3 * c.n);
    run.Launch(c.Name(), {2}, c.warps * 32, shared, args);
    std::vector<float> both = run.Read(first, 3 * c.n);
    const std::vector<float> second = run.Read(args.y, 3 * c.n);
    both.insert(both.end(), second.begin(), second.end());
    return both;
  });
  if (HasFatalFailure()) return;
  for (int64_t i = 0; i < 3 * c.n; ++i) ASSERT_FLOAT_EQ(y[3 * c.n + i], 2 * y[i]);
}

}  // namespace
}  // namespace renga::emulator
