// attention: decoding and prefill, split and not, caches of all kinds, windows, sinks, soft caps,
// pages in any order and missing, heads of odd sizes, keys whose bias is apart.
#include <cmath>
#include <limits>

#include "codegen/kernels/args.cuh"
#include "tests/emulator/kernels/attention_cases.h"
#include "tests/emulator/kernels/caches.h"
#include "tests/emulator/kernels/rope_reference.h"
#include "tests/emulator/kernels/support.h"
#include "tests/emulator/kernels/weights.h"

namespace renga::emulator {
namespace {

using kernels::AttentionArgs;

constexpr int kPageTokens = 4;

const std::vector<AttentionCase>& Cases() {
  static const auto& cases = *new std::vector<AttentionCase>(AttentionCases());
  return cases;
}

// Writes what the step's kernels before attention write: q, and the keys of the step's tokens.
// Attention's launch may begin while it runs.
constexpr std::string_view kWriter = R"(#include "codegen/kernels/args.cuh"
#include "codegen/kernels/numbers.cuh"
using namespace renga::kernels;
struct WriterArgs {
  const uint16_t* from[5];
  uint16_t* to[5];
  const int32_t* cells;
  int bits16[5];  // of a cell, or of all where it has no cells
  int count;
};
extern "C" __global__ void write_step(const WriterArgs args) {
  WaitForPreviousKernel();
  LetNextKernelStart();
  const int first = blockIdx.x * blockDim.x + threadIdx.x, step = gridDim.x * blockDim.x;
  for (int a = 0; a < 5; ++a) {
    const int size = args.bits16[a], cells = a < 4 ? args.count : 1;
    for (int i = first; i < size * cells; i += step) {
      const int at = (a < 4 ? args.cells[i / size] : 0) * size + i % size;
      args.to[a][at] = args.from[a][at];
    }
  }
}
)";
struct WriterArgs {
  const void* from[5];
  void* to[5];
  const int32_t* cells;
  int bits16[5];
  int count;
};

const CaseLibrary* Library() {
  static const CaseLibrary* library = [] {
    std::map<std::string, std::string> texts = {{"write_step", std::string(kWriter)}};
    for (const AttentionCase& c : Cases()) {
      const std::string biased = c.bias ? "Biased" : "", rope = c.bias ? c.bias->Text() : "";
      texts[StrCat("attention_", c.name)] =
          StrCat(R"(#include "codegen/kernels/attention.cuh"
using namespace renga::kernels;
struct Config {
  static constexpr int kQueryHeads = )",
                 c.q_heads, ", kKvHeads = ", c.kv_heads, ", kHeadDim = ", c.head_dim, R"(;
  static constexpr int kPageTokens = )",
                 kPageTokens, ", kWindow = ", c.window, R"(;
  static constexpr int kRowWarps = )",
                 c.row_warps, ", kKeyWarps = ", c.key_warps, R"(;
  static constexpr int kTileTokens = )",
                 c.tile_tokens, ", kTileKeys = ", c.tile_keys, R"(;
  static constexpr int kStages = )",
                 c.stages, ", kMaxSplits = ", c.MaxSplits(), R"(;
  static constexpr bool kCausal = )",
                 c.causal ? "true" : "false", R"(;
  static constexpr double kScale = )",
                 c.Scale(), ", kSoftCap = ", c.soft_cap, R"(;
  using KeyCache = )",
                 c.k_cache, ";\n  using ValueCache = ", c.v_cache, ";\n", rope, R"(};
extern "C" __global__ void attention_)",
                 c.name, "(const ", biased, "AttentionArgs args) { ", biased,
                 "Attention<Config>(args); }\n");
      if (c.fused_alone) continue;
      // The same in three steps.
      for (const std::string& part :
           std::vector<std::string>{biased + "AttnScores", "MaskedSoftmax", "AttnValues"}) {
        texts[StrCat(part, "_", c.name)] = StrCat(
            R"(#include "codegen/kernels/attention_parts.cuh"
using namespace renga::kernels;
struct Config {
  static constexpr int kQueryHeads = )",
            c.q_heads, ", kKvHeads = ", c.kv_heads, ", kHeadDim = ", c.head_dim,
            ";\n  static constexpr int kPageTokens = ", kPageTokens, ", kWindow = ", c.window,
            ", kThreads = 64;\n  static constexpr bool kCausal = ", c.causal ? "true" : "false",
            ";\n  static constexpr double kScale = ", c.Scale(),
            ";\n  using KeyCache = ", c.k_cache, ";\n  using ValueCache = ", c.v_cache, ";\n", rope,
            "};\nextern \"C\" __global__ void ", part, "_", c.name, "(const ", part,
            "Args args) { ", part, "<Config>(args); }\n");
      }
    }
    return CompileCases(texts).release();
  }();
  return library;
}

// All sequences' pages, in an order that is none.
struct Paging {
  int pages_of_sequence;
  std::vector<int32_t> pages;  // [sequences, pages_of_sequence]
  int64_t cells;

  int64_t CellOf(int sequence, int j) const {
    const int page = j / kPageTokens;
    if (page >= pages_of_sequence) return -1;
    const int at = pages[sequence * pages_of_sequence + page];
    return at < 0 ? -1 : int64_t{at} * kPageTokens + j % kPageTokens;
  }
};

struct Expected {
  double value, allowed;
};

// Of one head of one token. The caches' stored values are exact; of the others' roundings: q is a
// sum of two f16 (22 digits) or two bf16 (16), K and V in f32 or q8_0 likewise two bf16, keys with
// their bias two of what q is; weights of the sum one f16 (2^-11) or two bf16; and f32 sums. E4m3
// is f16, but with a bias bf16. An error e of the scores is one of 2 e, as a share, in the weights.
std::vector<Expected> HeadOf(const AttentionCase& c, const Paging& paging, int token, int head,
                             int span, const std::vector<float>& q, const std::vector<float>& keys,
                             const std::vector<float>& values, const std::vector<float>& sinks,
                             const std::vector<float>& bias) {
  const int kv_head = head / (c.q_heads / c.kv_heads), d_count = c.head_dim;
  const int position = c.positions[token];
  std::vector<double> scores;
  std::vector<int64_t> cells;
  double largest = sinks.empty() ? -std::numeric_limits<double>::infinity() : sinks[head];
  double score_error = 0;
  const bool half_keys = c.k_cache == "Half" || (c.k_cache == "E4m3" && !c.bias);
  const bool half_values = c.v_cache == "Half" || c.v_cache == "E4m3";
  for (int j = 0; j < span; ++j) {
    if (c.causal && j > position) continue;
    if (c.window > 0 && position - j >= c.window) continue;
    const int64_t cell = paging.CellOf(c.sequences[token], j);
    double score = 0, size = 0, turning = 0;
    std::vector<double> of_bias(d_count), off(d_count);
    if (c.bias) {
      std::copy_n(bias.begin() + kv_head * d_count, d_count, of_bias.begin());
      c.bias->Rotate(j, {}, of_bias.data(), off.data());
    }
    for (int d = 0; cell >= 0 && d < d_count; ++d) {
      const double query = q[(token * c.q_heads + head) * d_count + d];
      const double product =
          query * (keys[(cell * c.kv_heads + kv_head) * d_count + d] + of_bias[d]);
      score += product;
      size += std::abs(product);
      turning += 2 * std::abs(query) * off[d];  // turned twice
    }
    score *= c.Scale();
    score_error =
        std::max(score_error, (size * std::ldexp(1, half_keys ? -19 : -15) + turning) * c.Scale());
    if (c.soft_cap > 0) score = c.soft_cap * std::tanh(score / c.soft_cap);
    scores.push_back(score);
    cells.push_back(cell);
    largest = std::max(largest, score);
  }
  double sum = sinks.empty() ? 0 : std::exp(sinks[head] - largest);
  for (double& score : scores) sum += score = std::exp(score - largest);
  std::vector<Expected> out(d_count);
  const double share =
      2 * score_error * std::exp(2 * score_error) + std::ldexp(1, half_values ? -11 : -14) + 1e-5;
  for (size_t i = 0; i < scores.size(); ++i) {
    for (int d = 0; cells[i] >= 0 && d < d_count; ++d) {
      const double part = scores[i] / sum * values[(cells[i] * c.kv_heads + kv_head) * d_count + d];
      out[d].value += part;
      out[d].allowed += std::abs(part) * share;
    }
  }
  return out;
}

void LaunchParts(const AttentionCase& c, int span, const AttentionArgs& all, const float* bias,
                 KernelRun* run) {
  const auto heads = static_cast<unsigned>(c.q_heads), tokens = static_cast<unsigned>(all.tokens);
  float* s = run->Output<float>("s", size_t{heads} * tokens * span);
  // Not causal: a sequence's keys end with its page table, not with its positions.
  kernels::AttnScoresArgs scores = {all.q,
                                    all.k_cache,
                                    all.k_scales,
                                    all.sequences,
                                    c.causal ? all.positions : nullptr,
                                    all.pages,
                                    s,
                                    all.pages_of_sequence,
                                    span};
  if (c.bias) {
    run->Launch(StrCat("BiasedAttnScores_", c.name), {2, heads, tokens}, 64, 0,
                kernels::BiasedAttnScoresArgs{scores, bias});
  } else {
    run->Launch(StrCat("AttnScores_", c.name), {2, heads, tokens}, 64, 0, scores);
  }
  kernels::MaskedSoftmaxArgs softmax = {s, all.positions, all.sinks, s, span};
  run->Launch(StrCat("MaskedSoftmax_", c.name), {heads, tokens}, 64, 16, softmax);
  kernels::AttnValuesArgs values = {s,         all.v_cache, all.v_scales,          all.sequences,
                                    all.pages, all.y,       all.pages_of_sequence, span};
  run->Launch(StrCat("AttnValues_", c.name), {heads, tokens}, 64, 0, values);
}

// Of 0 splits: in three steps. `blocks`: of a tile.
void TestAttention(const AttentionCase& c, int splits, unsigned blocks) {
  SCOPED_TRACE(StrCat(c.name, " in ", splits, " splits, ", blocks, " blocks"));
  Random random(17);
  const int tokens = static_cast<int>(c.positions.size());
  const int last = *std::max_element(c.positions.begin(), c.positions.end());
  // Where all keys are visible the span ends with the longest sequence; a mask hides what is
  // beyond.
  const int span = c.causal ? last + 6 : last + 1;
  Paging paging;
  paging.pages_of_sequence = (last + kPageTokens) / kPageTokens;
  const int sequences = 1 + *std::max_element(c.sequences.begin(), c.sequences.end());
  const int all_pages = std::max(3, sequences) * paging.pages_of_sequence;
  for (int i = 0; i < all_pages; ++i) paging.pages.push_back((i * 7 + 3) % all_pages);
  if (all_pages % 7 == 0) {
    for (int i = 0; i < all_pages; ++i) paging.pages[i] = all_pages - 1 - i;
  }
  if (c.missing_page >= 0) paging.pages[c.missing_page] = -1;
  paging.cells = int64_t{all_pages} * kPageTokens;

  const size_t count = paging.cells * c.kv_heads * c.head_dim;
  std::vector<float> keys = random.Vector(count, 2), values = random.Vector(count, 2);
  // What no token may see is NaN: a weight of 0 does not hide it.
  std::vector<bool> seen(paging.cells);
  for (int t = 0; t < tokens; ++t) {
    for (int j = 0; j < span; ++j) {
      if (c.causal && j > c.positions[t]) continue;
      if (c.window > 0 && c.positions[t] - j >= c.window) continue;
      const int64_t cell = paging.CellOf(c.sequences[t], j);
      if (cell >= 0) seen[cell] = true;
    }
  }
  const CacheCase k_cache(c.k_cache), v_cache(c.v_cache);
  // The cells that this step writes; before that they hold what would show.
  std::vector<int32_t> fresh;
  for (int t = 0; t < tokens; ++t) {
    const int64_t cell = paging.CellOf(c.sequences[t], c.positions[t]);
    if (cell >= 0) fresh.push_back(static_cast<int32_t>(cell));
  }
  for (size_t i = 0; i < count; ++i) {
    if (seen[i / (c.kv_heads * c.head_dim)]) continue;
    if (!k_cache.quantised()) keys[i] = std::nanf("");
    if (!v_cache.quantised()) values[i] = std::nanf("");
  }
  std::vector<float> old_keys = keys, old_values = values;
  const int width = c.kv_heads * c.head_dim;
  for (const int32_t cell : fresh) {
    std::fill_n(old_keys.begin() + int64_t{cell} * width, width,
                k_cache.quantised() ? 9 : std::nanf(""));
    std::fill_n(old_values.begin() + int64_t{cell} * width, width,
                v_cache.quantised() ? 9 : std::nanf(""));
  }
  const size_t q_count = size_t{1} * tokens * c.q_heads * c.head_dim;
  const std::vector<float> q = random.Vector(q_count, c.query_size);
  const std::vector<float> sinks = c.sinks ? random.Vector(c.q_heads, 3) : std::vector<float>();
  // Larger than the keys, as where a bias is kept apart.
  const std::vector<float> bias = c.bias ? random.Vector(width, 20) : std::vector<float>();

  const codegen::AttentionShape shape = c.Shape();
  const unsigned grid_y = static_cast<unsigned>(shape.grid_y());
  const unsigned grid_z = (tokens + c.tile_tokens - 1) / c.tile_tokens;
  std::vector<float> stored_keys, stored_values;
  const auto y = UnderAllSchedules<float>(*Library(), [&](KernelRun& run) {
    AttentionArgs args = {};
    const float* q_from = run.Input("q_from", q);
    float* q_to = run.Output<float>("q", q_count);
    args.q = q_to;
    const auto upload = [&](const CacheCase& cache, const char* name,
                            const std::vector<float>& all) {
      return cache.Upload(&run, name, paging.cells, c.kv_heads, c.head_dim, &all);
    };
    const DeviceCache k_from = upload(k_cache, "k_from", keys),
                      v_from = upload(v_cache, "v_from", values),
                      k = upload(k_cache, "k_cache", old_keys),
                      v = upload(v_cache, "v_cache", old_values);
    stored_keys = k_cache.Download(&run, k_from);
    stored_values = v_cache.Download(&run, v_from);
    const auto bits16 = [&](const CacheCase& cache) {
      return static_cast<int>(cache.Bits16(width));
    };
    const auto scales = [&](const CacheCase& cache) {
      return static_cast<int>(cache.ScaleBits16(width));
    };
    run.Launch("write_step", {3}, 64, 0,
               WriterArgs{{k_from.values, k_from.scales, v_from.values, v_from.scales, q_from},
                          {k.values, k.scales, v.values, v.scales, q_to},
                          run.Input("fresh", fresh),
                          {bits16(k_cache), scales(k_cache), bits16(v_cache), scales(v_cache),
                           static_cast<int>(2 * q_count)},
                          static_cast<int>(fresh.size())});
    if (testing::Test::HasFatalFailure()) return std::vector<float>();
    args.k_cache = k.values;
    args.k_scales = k.scales;
    args.v_cache = v.values;
    args.v_scales = v.scales;
    args.positions = run.Input("positions", c.positions);
    args.sequences = run.Input("sequences", c.sequences);
    args.pages = run.Input("pages", paging.pages);
    if (c.sinks) args.sinks = run.Input("sinks", sinks);
    args.y = run.Output<float>("y", q_count);
    args.pages_of_sequence = paging.pages_of_sequence;
    args.span = span;
    args.tokens = tokens;
    const float* k_bias = c.bias ? run.Input("k_bias", bias) : nullptr;
    if (splits == 0) {
      LaunchParts(c, span, args, k_bias, &run);
      return testing::Test::HasFatalFailure() ? std::vector<float>() : run.Read(args.y, q_count);
    }
    const size_t rows = size_t{grid_y} * grid_z * splits * shape.tile_rows();
    args.part_values = run.Output<float>("part_values", rows * c.head_dim);
    args.part_stats = run.Output<float>("part_stats", rows * 2);
    const std::vector<uint32_t> zeros(grid_y * grid_z);
    args.tickets = run.Input("tickets", zeros);
    const auto launch = [&](const auto& all) {
      run.Launch(StrCat("attention_", c.name), {blocks, grid_y, grid_z},
                 static_cast<unsigned>(shape.threads()), shape.shared_bytes(), all);
    };
    if (c.bias) {
      launch(kernels::BiasedAttentionArgs{args, k_bias});
    } else {
      launch(args);
    }
    if (testing::Test::HasFatalFailure()) return std::vector<float>();
    EXPECT_EQ(run.Read(args.tickets, zeros.size()), zeros);
    return run.Read(args.y, q_count);
  });
  if (testing::Test::HasFatalFailure()) return;
  for (int t = 0; t < tokens; ++t) {
    for (int h = 0; h < c.q_heads; ++h) {
      const std::vector<Expected> expected =
          HeadOf(c, paging, t, h, span, q, stored_keys, stored_values, sinks, bias);
      for (int d = 0; d < c.head_dim; ++d) {
        ASSERT_NEAR(y[(t * c.q_heads + h) * c.head_dim + d], expected[d].value,
                    expected[d].allowed + 1e-7)
            << "token " << t << " head " << h << " dim " << d;
      }
    }
  }
}

class AttentionTest : public testing::TestWithParam<AttentionCase> {};
INSTANTIATE_TEST_SUITE_P(Each, AttentionTest, testing::ValuesIn(Cases()),
                         [](const auto& info) { return info.param.name; });

TEST_P(AttentionTest, InThreeSteps) {
  RENGA_NEED_KERNELS(Library());
  if (GetParam().fused_alone || GetParam().soft_cap != 0) return;  // which they do not know
  TestAttention(GetParam(), 0, 0);
}

TEST_P(AttentionTest, AgainstPlainLoops) {
  RENGA_NEED_KERNELS(Library());
  for (const int splits : GetParam().splits) {
    TestAttention(GetParam(), splits, static_cast<unsigned>(splits));
    if (HasFatalFailure()) return;
  }
  for (const unsigned blocks : GetParam().blocks) {
    TestAttention(GetParam(), 1, blocks);
    if (HasFatalFailure()) return;
  }
}

// A single key has all the weight, 1, so the result is the stored value: each code's, and NaN alone
// where the code is.
TEST(AttentionOfE4m3, ReadsEveryCode) {
  RENGA_NEED_KERNELS(Library());
  const auto found = std::find_if(Cases().begin(), Cases().end(),
                                  [](const AttentionCase& c) { return c.name == "every_code"; });
  ASSERT_NE(found, Cases().end());
  const codegen::AttentionShape shape = found->Shape();
  constexpr size_t kCodes = 256;
  std::vector<uint8_t> codes(kPageTokens * kCodes);
  for (size_t i = 0; i < kCodes; ++i) codes[i] = static_cast<uint8_t>(i * 37);  // in any order
  for (const bool parts : {false, true}) {
    SCOPED_TRACE(parts);
    const auto y = UnderAllSchedules<float>(*Library(), [&](KernelRun& run) {
      AttentionArgs args = {};
      args.q = run.Input("q", std::vector<float>(kCodes, 1));
      args.k_cache = run.Input("k_cache", std::vector<uint16_t>(codes.size()));
      args.v_cache = run.Input("v_cache", codes);
      args.positions = run.Input("positions", std::vector<int32_t>{0});
      args.sequences = run.Input("sequences", std::vector<int32_t>{0});
      args.pages = run.Input("pages", std::vector<int32_t>{0});
      args.y = run.Output<float>("y", kCodes);
      args.pages_of_sequence = args.tokens = 1;
      args.span = kPageTokens;
      if (parts) {
        LaunchParts(*found, args.span, args, nullptr, &run);
      } else {
        run.Launch("attention_every_code", {1, static_cast<unsigned>(shape.grid_y()), 1},
                   static_cast<unsigned>(shape.threads()), shape.shared_bytes(), args);
      }
      return testing::Test::HasFatalFailure() ? std::vector<float>() : run.Read(args.y, kCodes);
    });
    if (HasFatalFailure()) return;
    for (size_t i = 0; i < kCodes; ++i) {
      const float expected = E4M3ToFloat(codes[i]);
      ASSERT_TRUE(std::isnan(expected) ? std::isnan(y[i]) : y[i] == expected)
          << "code " << int{codes[i]} << ": expected " << expected << ", got " << y[i];
    }
  }
}

}  // namespace
}  // namespace renga::emulator
