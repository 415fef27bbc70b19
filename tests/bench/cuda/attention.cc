#include "tests/bench/cuda/attention.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "codegen/emit/kernel_shapes.h"
#include "codegen/kernels/args.cuh"
#include "ir/base/dtype.h"
#include "ir/base/strings.h"
#include "tests/emulator/kernels/weights.h"

namespace renga::bench {
namespace {

using emulator::Random;

constexpr int kQueryHeads = 32, kKvHeads = 8, kHeadDim = 128, kPageTokens = 64, kMaxSplits = 32;
constexpr int64_t kWidth = kKvHeads * kHeadDim;
constexpr int kContexts[] = {1024, 8192};
// Caches of many layers, so that L2 holds nothing of the next.
constexpr int64_t kCacheBytes = int64_t{600} << 20;

struct Tile {
  int key_warps, keys;
};
constexpr Tile kTiles[] = {{2, 32}, {2, 64}, {4, 64}, {4, 128}, {8, 128}};
constexpr int kSplits[] = {4, 8, 16, 32};

std::string KernelName(const Tile& tile) {
  return StrCat("attention_", tile.key_warps, "_", tile.keys);
}

codegen::AttentionShape ShapeOf(const Tile& tile) {
  return {.q_heads = kQueryHeads,
          .kv_heads = kKvHeads,
          .head_dim = kHeadDim,
          .row_warps = 1,
          .key_warps = tile.key_warps,
          .tile_tokens = 1,
          .tile_keys = tile.keys,
          .max_splits = kMaxSplits};
}

double Scale() { return 1 / std::sqrt(kHeadDim); }

// Keys, values and one query of all layers; `k` and `v` as f32, exactly what the cache holds.
struct Case {
  int context = 0, layers = 0;
  std::vector<float> q, k, v;
  cuda::Memory q_at, k_at, v_at, pages_at, positions_at, sequences_at, y_at, parts_at, stats_at,
      tickets_at;
};

absl::StatusOr<Case> MakeCase(const CudaBench& bench, int context) {
  Case c;
  c.context = context;
  const int64_t count = context * kWidth;
  c.layers = static_cast<int>(std::max<int64_t>(4, kCacheBytes / (count * 4)));
  Random random(static_cast<uint32_t>(context));
  c.q = random.Vector(kQueryHeads * kHeadDim, 2);
  std::vector<uint16_t> k, v;
  for (auto [bits, values] : {std::pair(&k, &c.k), std::pair(&v, &c.v)}) {
    for (int64_t i = 0; i < count; ++i) {
      bits->push_back(FloatToHalf(random.Between(-2, 2)));
      values->push_back(HalfToFloat(bits->back()));
    }
  }
  const cuda::Stream& stream = bench.stream();
  for (auto [bits, memory] : {std::pair(&k, &c.k_at), std::pair(&v, &c.v_at)}) {
    RENGA_ASSIGN_OR_RETURN(*memory, bench.Allocate(c.layers * count * 2));
    RENGA_RETURN_IF_ERROR(stream.Write(
        memory->data(), {reinterpret_cast<const uint8_t*>(bits->data()), bits->size() * 2}));
    for (int i = 1; i < c.layers; ++i) {
      RENGA_RETURN_IF_ERROR(stream.Copy(memory->data() + i * count * 2, memory->data(), count * 2));
    }
  }
  // Pages in no order; the number of pages is no multiple of 7.
  const int pages = context / kPageTokens;
  std::vector<int32_t> table;
  for (int i = 0; i < pages; ++i) table.push_back((i * 7 + 3) % pages);
  RENGA_ASSIGN_OR_RETURN(c.q_at, bench.Upload(c.q));
  RENGA_ASSIGN_OR_RETURN(c.pages_at, bench.Upload(table));
  RENGA_ASSIGN_OR_RETURN(c.positions_at, bench.Upload(std::vector<int32_t>{context - 1}));
  RENGA_ASSIGN_OR_RETURN(c.sequences_at, bench.Upload(std::vector<int32_t>{0}));
  RENGA_ASSIGN_OR_RETURN(c.y_at, bench.Allocate(kQueryHeads * kHeadDim * 4));
  const size_t rows = size_t{kKvHeads} * kMaxSplits * 16;
  RENGA_ASSIGN_OR_RETURN(c.parts_at, bench.Allocate(rows * kHeadDim * 4));
  RENGA_ASSIGN_OR_RETURN(c.stats_at, bench.Allocate(rows * 2 * 4));
  RENGA_ASSIGN_OR_RETURN(c.tickets_at, bench.Upload(std::vector<uint32_t>(kKvHeads)));
  return c;
}

kernels::AttentionArgs ArgsOf(const Case& c, int layer) {
  const size_t at = size_t{2} * layer * c.context * kWidth;
  kernels::AttentionArgs args = {};
  args.q = reinterpret_cast<const float*>(c.q_at.data());
  args.k_cache = c.k_at.data() + at;
  args.v_cache = c.v_at.data() + at;
  args.positions = reinterpret_cast<const int32_t*>(c.positions_at.data());
  args.sequences = reinterpret_cast<const int32_t*>(c.sequences_at.data());
  args.pages = reinterpret_cast<const int32_t*>(c.pages_at.data());
  args.y = reinterpret_cast<float*>(c.y_at.data());
  args.part_values = reinterpret_cast<float*>(c.parts_at.data());
  args.part_stats = reinterpret_cast<float*>(c.stats_at.data());
  args.tickets = reinterpret_cast<uint32_t*>(c.tickets_at.data());
  args.pages_of_sequence = c.context / kPageTokens;
  args.span = c.context;
  args.tokens = 1;
  return args;
}

struct Expected {
  std::vector<double> values, allowed;  // [q_heads, head_dim]
};

// The cache's values are exact. q is a sum of two f16 (22 digits), weights of the sum are one f16,
// sums f32; an error e of the scores is one of 2 e, as a share, in the weights.
Expected Attend(const Case& c) {
  Expected expected;
  std::vector<double> weights(c.context);
  for (int h = 0; h < kQueryHeads; ++h) {
    const int kv_head = h / (kQueryHeads / kKvHeads);
    double largest = -1e300, error = 0, sum = 0;
    for (int j = 0; j < c.context; ++j) {
      // The order of the pages does not matter to the sum: every cell is visible.
      double score = 0, size = 0;
      for (int d = 0; d < kHeadDim; ++d) {
        const double product =
            double{c.q[h * kHeadDim + d]} * c.k[j * kWidth + kv_head * kHeadDim + d];
        score += product;
        size += std::abs(product);
      }
      weights[j] = score * Scale();
      largest = std::max(largest, weights[j]);
      error = std::max(error, size * Scale() * std::ldexp(1, -19));
    }
    for (double& weight : weights) sum += weight = std::exp(weight - largest);
    const double share = 2 * error * std::exp(2 * error) + std::ldexp(1, -11) + 1e-5;
    for (int d = 0; d < kHeadDim; ++d) {
      double value = 0, size = 0;
      for (int j = 0; j < c.context; ++j) {
        const double part = weights[j] / sum * c.v[j * kWidth + kv_head * kHeadDim + d];
        value += part;
        size += std::abs(part);
      }
      expected.values.push_back(value);
      expected.allowed.push_back(size * share + 1e-7);
    }
  }
  return expected;
}

std::string FirstWrong(const std::vector<float>& y, const Expected& expected) {
  for (size_t i = 0; i < y.size(); ++i) {
    if (std::abs(y[i] - expected.values[i]) <= expected.allowed[i]) continue;  // false for NaN
    return StrCat("head ", i / kHeadDim, " dim ", i % kHeadDim, " is ", y[i], ", expected ",
                  expected.values[i], " +- ", expected.allowed[i]);
  }
  return "";
}

absl::Status BenchContext(const CudaBench& bench, int context, Table* table) {
  RENGA_ASSIGN_OR_RETURN(const Case c, MakeCase(bench, context));
  const Expected expected = Attend(c);
  Row row = {.what = StrCat("attention over ", context),
             .type = "f16",
             .tokens = 1,
             .bytes = 4.0 * context * kWidth};
  for (const Tile& tile : kTiles) {
    const codegen::AttentionShape shape = ShapeOf(tile);
    for (const int splits : kSplits) {
      if (splits * tile.keys > context) continue;
      Variant variant = {KernelName(tile),
                         {static_cast<unsigned>(splits), static_cast<unsigned>(shape.grid_y()), 1},
                         static_cast<unsigned>(shape.threads()),
                         shape.shared_bytes(),
                         ""};
      RENGA_ASSIGN_OR_RETURN(const int fit, bench.BlocksPerSm(variant));
      if (fit == 0) continue;
      variant.label = StrCat(splits, " splits, ", tile.key_warps, " warps, tiles of ", tile.keys,
                             " keys, ", fit, " blocks/SM");
      RENGA_RETURN_IF_ERROR(bench.stream().Fill(c.y_at.data(), 0xff, c.y_at.bytes()));
      RENGA_RETURN_IF_ERROR(bench.Launch(variant, ArgsOf(c, c.layers - 1)));
      RENGA_ASSIGN_OR_RETURN(const auto y, bench.Download<float>(c.y_at, kQueryHeads * kHeadDim));
      const std::string wrong = FirstWrong(y, expected);
      if (!wrong.empty()) row.remark = StrCat(variant.kernel, " in ", splits, ": ", wrong);
      RENGA_ASSIGN_OR_RETURN(const double us, bench.Microseconds([&]() -> absl::Status {
        for (int i = 0; i < c.layers; ++i) {
          RENGA_RETURN_IF_ERROR(bench.Launch(variant, ArgsOf(c, i)));
        }
        return absl::OkStatus();
      }));
      if (row.us == 0 || us / c.layers < row.us) {
        row.us = us / c.layers;
        row.label = variant.label;
      }
    }
  }
  table->Add(row);
  return absl::OkStatus();
}

// A shape that is good at any length.
constexpr Tile kStepTile = {4, 64};
constexpr unsigned kStepSplits = 16;

class StepOfCase final : public AttentionStep {
 public:
  StepOfCase(const CudaBench& bench, Case c) : bench_(bench), case_(std::move(c)) {}

  absl::Status Launch(int layer, const float* q, float* y) const override {
    const codegen::AttentionShape shape = ShapeOf(kStepTile);
    kernels::AttentionArgs args = ArgsOf(case_, layer % case_.layers);
    args.q = q;
    args.y = y;
    return bench_.Launch({KernelName(kStepTile),
                          {kStepSplits, static_cast<unsigned>(shape.grid_y()), 1},
                          static_cast<unsigned>(shape.threads()),
                          shape.shared_bytes(),
                          ""},
                         args);
  }

 private:
  const CudaBench& bench_;
  Case case_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<AttentionStep>> AttentionStep::Make(const CudaBench& bench,
                                                                   int context) {
  RENGA_ASSIGN_OR_RETURN(Case c, MakeCase(bench, context));
  return std::make_unique<StepOfCase>(bench, std::move(c));
}

KernelTexts AttentionTexts() {
  KernelTexts texts;
  for (const Tile& tile : kTiles) {
    texts[KernelName(tile)] =
        StrCat(R"(#include "codegen/kernels/attention.cuh"
using namespace renga::kernels;
struct Config {
  static constexpr int kQueryHeads = )",
               kQueryHeads, ", kKvHeads = ", kKvHeads, ", kHeadDim = ", kHeadDim, R"(;
  static constexpr int kPageTokens = )",
               kPageTokens, R"(, kWindow = 0, kRowWarps = 1, kTileTokens = 1;
  static constexpr int kKeyWarps = )",
               tile.key_warps, ", kTileKeys = ", tile.keys, ", kMaxSplits = ", kMaxSplits, R"(;
  static constexpr bool kCausal = true;
  static constexpr double kScale = )",
               Scale(), R"(, kSoftCap = 0;
  using KeyCache = Half;
  using ValueCache = Half;
};
extern "C" __global__ void __launch_bounds__()",
               32 * tile.key_warps, ") ", KernelName(tile),
               "(const AttentionArgs args) { Attention<Config>(args); }\n");
  }
  return texts;
}

void BenchAttention(const CudaBench& bench, Table* table) {
  table->Section("Attention of one token, 32 heads over 8 of 128, f16 cache; layers in turn");
  for (const int context : kContexts) {
    table->AddFailure(StrCat("attention over ", context), "f16",
                      BenchContext(bench, context, table));
  }
}

}  // namespace renga::bench
