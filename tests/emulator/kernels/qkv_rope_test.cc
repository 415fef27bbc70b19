// qkv_rope: three weights, bias, norms of heads, both pairings of RoPE, caches of all kinds.
#include <cmath>

#include "codegen/emit/kernel_shapes.h"
#include "codegen/kernels/args.cuh"
#include "tests/emulator/kernels/caches.h"
#include "tests/emulator/kernels/rope_reference.h"
#include "tests/emulator/kernels/support.h"
#include "tests/emulator/kernels/weights.h"

namespace renga::emulator {
namespace {

using kernels::QkvRopeArgs;

struct QkvCase {
  std::string name;
  DType q, k, v;
  int max_tokens, q_heads, kv_heads, head_dim;
  int64_t width;
  bool head_norm, factors;
  RopeCase rope;
  std::string k_cache, v_cache;
  int x_parts = 1;
};

const QkvCase kCases[] = {
    // Pairs within tiles: no block waits for another.
    {"qkv_llama",
     DType::kQ4_K,
     DType::kQ4_K,
     DType::kQ6_K,
     3,
     4,
     2,
     24,
     256,
     false,
     true,
     {.dims = 24, .pairing = "kNorm", .base = 5e5},
     "Half",
     "Half",
     2},
    // Heads of two and a half tiles.
    {"qkv_qwen2",
     DType::kQ5_0,
     DType::kQ5_0,
     DType::kQ8_0,
     2,
     3,
     1,
     40,
     96,
     false,
     false,
     {.dims = 40, .pairing = "kNeox", .base = 1e6},
     "Bfloat16",
     "float"},
    {"qkv_qwen3",
     DType::kQ8_0,
     DType::kQ4_0,
     DType::kQ4_0,
     5,
     4,
     2,
     64,
     128,
     true,
     false,
     {.dims = 48,
      .pairing = "kNeox",
      .scaling = "kYarn",
      .base = 1e4,
      .factor = 4,
      .magnitude = 1.1386,
      .yarn_low = 3,
      .yarn_high = 15},
     "Q8",
     "Q8",
     2},
    // Neighbours are pairs, but a block of q4_0 is more than a tile.
    {"qkv_turned",
     DType::kQ8_0,
     DType::kQ8_0,
     DType::kQ8_0,
     3,
     2,
     2,
     32,
     64,
     false,
     false,
     {.dims = 32, .pairing = "kNorm", .base = 1e4},
     "Q4",
     "Q4"},
    // Two heads in a tile.
    {"qkv_tiny",
     DType::kF32,
     DType::kF32,
     DType::kF32,
     8,
     8,
     4,
     8,
     64,
     false,
     false,
     {.dims = 8, .pairing = "kNorm", .scaling = "kLinear", .base = 1e4, .factor = 2},
     "float",
     "Half"},
    // A byte a number: heads of a tile and a quarter, values within tiles.
    {"qkv_eight_bits",
     DType::kQ8_0,
     DType::kQ8_0,
     DType::kQ8_0,
     3,
     4,
     2,
     20,
     64,
     false,
     false,
     {.dims = 20, .pairing = "kNeox", .base = 1e4},
     "E4m3",
     "E4m3"},
    {"qkv_eight_bits_in_tiles",
     DType::kQ8_0,
     DType::kQ8_0,
     DType::kQ8_0,
     2,
     2,
     2,
     10,
     64,
     false,
     false,
     {.dims = 10, .pairing = "kNorm", .base = 1e4},
     "E4m3",
     "Half"},
};

std::string NameOf(DType type, int64_t n, int64_t k, int x_parts) {
  return TestWeight{type, n, k, {}, {}, {}, {}, {}}.Name(x_parts);
}

const CaseLibrary* Library() {
  static const CaseLibrary* library = [] {
    std::map<std::string, std::string> texts;
    for (const QkvCase& c : kCases) {
      texts[c.name] =
          StrCat(R"(#include "codegen/kernels/qkv_rope.cuh"
using namespace renga::kernels;
struct Config {
  using Query = )",
                 NameOf(c.q, c.q_heads * c.head_dim, c.width, c.x_parts), R"(;
  using Key = )",
                 NameOf(c.k, c.kv_heads * c.head_dim, c.width, c.x_parts), R"(;
  using Value = )",
                 NameOf(c.v, c.kv_heads * c.head_dim, c.width, c.x_parts), R"(;
  static constexpr int kTokens = )",
                 c.max_tokens, ", kXParts = ", c.x_parts, R"(, kWarps = 4;
  static constexpr int kQueryBlocks = 3, kKeyBlocks = 2, kValueBlocks = 1;
  static constexpr int kQueryHeads = )",
                 c.q_heads, ", kKvHeads = ", c.kv_heads, ", kHeadDim = ", c.head_dim, R"(;
  static constexpr bool kNorm = true, kHeadNorm = )",
                 c.head_norm ? "true" : "false", R"(;
  static constexpr float kEps = 1e-5f, kHeadEps = 1e-6f;
)",
                 c.rope.Text(), "  using KeyCache = ", c.k_cache,
                 ";\n  using ValueCache = ", c.v_cache, R"(;
};
extern "C" __global__ void )",
                 c.name, "(const QkvRopeArgs args) { QkvRope<Config>(args); }\n");
    }
    return CompileCases(texts).release();
  }();
  return library;
}

// A head's values after bias, norm and rotation, and how far they may be off.
struct Heads {
  std::vector<double> values, allowed;  // [tokens, heads, head_dim]
};

Heads HeadsOf(const QkvCase& c, const TestWeight& weight, const std::vector<double>& h, int tokens,
              const std::vector<float>& bias, const std::vector<float>& norm, bool rotate,
              const std::vector<int32_t>& positions, const std::vector<float>& factors) {
  const Product product = Multiply(weight, h, tokens);
  Heads heads = {product.values, product.allowed};
  for (size_t i = 0; i < heads.values.size(); ++i) {
    heads.values[i] += bias[i % weight.rows];
    heads.allowed[i] += 1e-6 * std::abs(heads.values[i]);
  }
  const int64_t count = weight.rows / c.head_dim;
  for (int64_t row = 0; row < tokens * count; ++row) {
    double* v = heads.values.data() + row * c.head_dim;
    double* e = heads.allowed.data() + row * c.head_dim;
    if (!norm.empty()) {
      double squares = 0, errors = 0;
      for (int d = 0; d < c.head_dim; ++d) {
        squares += v[d] * v[d];
        errors += e[d] * e[d];
      }
      const double scale = 1 / std::sqrt(squares / c.head_dim + 1e-6);
      // 1/rms moves by at most the share of the errors in the values.
      const double share = std::sqrt(errors / squares);
      for (int d = 0; d < c.head_dim; ++d) {
        e[d] = (e[d] + std::abs(v[d]) * share) * scale * std::abs(norm[d]);
        v[d] *= scale * norm[d];
      }
    }
    if (rotate) c.rope.Rotate(positions[row / count], factors, v, e);
  }
  return heads;
}

void CheckCache(const CacheCase& cache, const QkvCase& c, const std::vector<float>& stored,
                const Heads& expected, const std::vector<int32_t>& cells) {
  const int64_t width = c.kv_heads * c.head_dim;
  for (size_t t = 0; t < cells.size(); ++t) {
    if (cells[t] < 0) continue;
    const auto values = expected.values.begin() + t * width;
    const auto errors = expected.allowed.begin() + t * width;
    const auto row = stored.begin() + cells[t] * width;
    const std::vector<double> want = cache.Rounded({values, values + width});
    const std::vector<double> allowed = cache.RoundedErrors({errors, errors + width});
    const std::vector<double> got = cache.Rounded({row, row + width});
    for (int64_t i = 0; i < width; ++i) {
      double largest = 0;  // of the block of 32
      for (int64_t j = i / 32 * 32; j < std::min(i / 32 * 32 + 32, width); ++j) {
        largest = std::max(largest, std::abs(want[j]));
      }
      ASSERT_NEAR(got[i], want[i], 1.05 * allowed[i] + cache.Error(want[i], largest))
          << "token " << t << " value " << i;
    }
  }
}

RENGA_EACH_CASE(QkvRopeTest, QkvCase, kCases, name);

TEST_P(QkvRopeTest, AgainstPlainLoops) {
  RENGA_NEED_KERNELS(Library());
  const QkvCase& c = GetParam();
  for (const int tokens : {c.max_tokens, 1}) {
    SCOPED_TRACE(StrCat(tokens, " tokens"));
    Random random(3);
    const int64_t q_rows = c.q_heads * c.head_dim, kv_rows = c.kv_heads * c.head_dim;
    const TestWeight q = MakeWeight(c.q, q_rows, c.width, 0.05f, &random);
    const TestWeight k = MakeWeight(c.k, kv_rows, c.width, 0.05f, &random);
    const TestWeight v = MakeWeight(c.v, kv_rows, c.width, 0.05f, &random);
    const std::vector<float> x = random.Vector(tokens * c.width, 3);
    const std::vector<float> norm = random.Vector(c.width, 2);
    const std::vector<float> q_bias = random.Vector(q_rows, 30),
                             k_bias = random.Vector(kv_rows, 30),
                             v_bias = random.Vector(kv_rows, 1);
    std::vector<float> q_norm, k_norm, factors;
    if (c.head_norm) {
      q_norm = random.Vector(c.head_dim, 2);
      k_norm = random.Vector(c.head_dim, 2);
    }
    if (c.factors) {
      for (int p = 0; p < c.rope.dims / 2; ++p) factors.push_back(random.Between(1, 8));
    }
    const int64_t capacity = 23;
    std::vector<int32_t> positions, cells;
    for (int t = 0; t < tokens; ++t) {
      positions.push_back(t == 0 ? 100003 : 5 * t);
      cells.push_back((t * 7 + 5) % capacity);
    }
    if (tokens > 2) cells[1] = -1;
    const CacheCase k_cache(c.k_cache), v_cache(c.v_cache);
    const size_t q_count = tokens * q_rows, cache_count = capacity * kv_rows;

    const auto result = UnderAllSchedules<float>(*Library(), [&](KernelRun& run) {
      QkvRopeArgs args = {};
      args.x = run.Input("x", x);
      args.norm = run.Input("norm", norm);
      args.q = run.Input("q", q.packed);
      args.k = run.Input("k", k.packed);
      args.v = run.Input("v", v.packed);
      args.q_bias = run.Input("q_bias", q_bias);
      args.k_bias = run.Input("k_bias", k_bias);
      args.v_bias = run.Input("v_bias", v_bias);
      if (c.head_norm) args.q_norm = run.Input("q_norm", q_norm);
      if (c.head_norm) args.k_norm = run.Input("k_norm", k_norm);
      if (c.factors) args.factors = run.Input("factors", factors);
      args.positions = run.Input("positions", positions);
      args.cells = run.Input("cells", cells);
      args.q_out = run.Output<float>("q_out", q_count);
      const DeviceCache keys = k_cache.Upload(&run, "k_cache", capacity, c.kv_heads, c.head_dim);
      const DeviceCache values = v_cache.Upload(&run, "v_cache", capacity, c.kv_heads, c.head_dim);
      args.k_cache = keys.values;
      args.k_scales = keys.scales;
      args.v_cache = values.values;
      args.v_scales = values.scales;
      args.raw = run.Output<float>("raw", tokens * (q_rows + 2 * kv_rows));
      const std::vector<uint32_t> zeros(c.q_heads + 2 * c.kv_heads);
      args.tickets = run.Input("tickets", zeros);
      args.tokens = tokens;
      const int64_t padded_k =
          std::max({q.layout.padded_k(), k.layout.padded_k(), v.layout.padded_k()});
      run.Launch(
          c.name, {6}, 128,
          codegen::QkvRopeShared(4, c.max_tokens, padded_k, c.head_dim, c.x_parts).At(tokens),
          args);
      if (testing::Test::HasFatalFailure()) return std::vector<float>();
      EXPECT_EQ(run.Read(args.tickets, zeros.size()), zeros);
      std::vector<float> all = run.Read(args.q_out, q_count);
      for (const auto& [cache, device] : {std::pair(k_cache, keys), std::pair(v_cache, values)}) {
        const std::vector<float> stored = cache.Download(&run, device);
        all.insert(all.end(), stored.begin(), stored.end());
      }
      return all;
    });
    if (HasFatalFailure()) return;
    const std::vector<double> h = Normed(x, norm, 1e-5, tokens);
    const Heads q_heads = HeadsOf(c, q, h, tokens, q_bias, q_norm, true, positions, factors);
    for (size_t i = 0; i < q_count; ++i) {
      ASSERT_NEAR(result[i], q_heads.values[i], 1.05 * q_heads.allowed[i] + 1e-5)
          << "token " << i / q_rows << " head " << i % q_rows / c.head_dim << " dim "
          << i % c.head_dim;
    }
    const auto keys = result.begin() + q_count, values = keys + cache_count;
    CheckCache(k_cache, c, {keys, values},
               HeadsOf(c, k, h, tokens, k_bias, k_norm, true, positions, factors), cells);
    CheckCache(v_cache, c, {values, result.end()},
               HeadsOf(c, v, h, tokens, v_bias, {}, false, positions, factors), cells);
    if (HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace renga::emulator
