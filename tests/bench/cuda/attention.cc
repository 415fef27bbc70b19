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

constexpr int kPageTokens = 64, kMaxSplits = 32;
constexpr int kContexts[] = {1024, 8192, 32768};
// Caches of many layers, so that L2 holds nothing of the next.
constexpr int64_t kCacheBytes = int64_t{600} << 20;

struct Heads {
  std::string_view name;
  int q, kv, dim;

  int64_t width() const { return int64_t{kv} * dim; }
  int q_count() const { return q * dim; }
  double scale() const { return 1 / std::sqrt(dim); }
};
constexpr Heads kLlama8B = {"8B", 32, 8, 128};
constexpr Heads kQwenHalfB = {"0.5B", 14, 2, 64};

struct Tile {
  int key_warps, keys, stages;
};
constexpr Tile kTiles[] = {{4, 64, 2}, {4, 64, 1}, {2, 32, 2}, {8, 128, 2}};
constexpr int kSplits[] = {4, 8, 16, 32};

std::string KernelName(const Heads& heads, const Tile& tile) {
  return StrCat("attention_", heads.q, "_", tile.key_warps, "_", tile.keys, "_", tile.stages);
}

codegen::AttentionShape ShapeOf(const Heads& heads, const Tile& tile) {
  return {.q_heads = heads.q,
          .kv_heads = heads.kv,
          .head_dim = heads.dim,
          .row_warps = 1,
          .key_warps = tile.key_warps,
          .tile_tokens = 16 / (heads.q / heads.kv),
          .tile_keys = tile.keys,
          .stages = tile.stages,
          .max_splits = kMaxSplits};
}

// What a step's kernels before attention do to it: they write q and the last position's key and
// value. Its time is taken off.
constexpr std::string_view kBefore = R"(#include "codegen/kernels/args.cuh"
#include "codegen/kernels/numbers.cuh"
using namespace renga::kernels;
struct BeforeArgs {
  const float* q_from;
  float* q;
  const uint16_t* k_from;
  uint16_t* k;
  const uint16_t* v_from;
  uint16_t* v;
  int q_count, width;
};
extern "C" __global__ void __launch_bounds__(128) attention_before(const BeforeArgs args) {
  WaitForPreviousKernel();
  LetNextKernelStart();
  const int first = blockIdx.x * 128 + threadIdx.x;
  for (int i = first; i < args.q_count; i += gridDim.x * 128) args.q[i] = args.q_from[i];
  for (int i = first; i < args.width; i += gridDim.x * 128) {
    args.k[i] = args.k_from[i];
    args.v[i] = args.v_from[i];
  }
}
)";
struct BeforeArgs {
  const void *q_from, *q, *k_from, *k, *v_from, *v;
  int q_count, width;
};

// Keys, values and one query of all layers; `k` and `v` as f32, exactly what the cache holds.
struct Case {
  Heads heads;
  int context = 0, layers = 0;
  std::vector<float> q, k, v;
  cuda::Memory q_from, last_k, last_v, q_at, k_at, v_at, pages_at, positions_at, sequences_at, y_at,
      parts_at, stats_at, tickets_at;
};

// Pages in no order; the number of pages is no multiple of 7.
int PageOf(int context, int i) { return (i * 7 + 3) % (context / kPageTokens); }
int64_t LastCell(int context) {
  return int64_t{PageOf(context, context / kPageTokens - 1)} * kPageTokens + kPageTokens - 1;
}

absl::StatusOr<Case> MakeCase(const CudaBench& bench, const Heads& heads, int context) {
  Case c;
  c.heads = heads;
  c.context = context;
  const int64_t count = context * heads.width();
  c.layers = static_cast<int>(std::max<int64_t>(4, kCacheBytes / (count * 4)));
  Random random(static_cast<uint32_t>(context));
  c.q = random.Vector(heads.q_count(), 2);
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
  std::vector<int32_t> table;
  for (int i = 0; i < context / kPageTokens; ++i) table.push_back(PageOf(context, i));
  RENGA_ASSIGN_OR_RETURN(c.q_at, bench.Upload(c.q));
  RENGA_ASSIGN_OR_RETURN(c.q_from, bench.Upload(c.q));
  const int64_t last = LastCell(context) * heads.width();
  const auto row = [&](const std::vector<uint16_t>& bits) {
    return std::vector<uint16_t>(bits.begin() + last, bits.begin() + last + heads.width());
  };
  RENGA_ASSIGN_OR_RETURN(c.last_k, bench.Upload(row(k)));
  RENGA_ASSIGN_OR_RETURN(c.last_v, bench.Upload(row(v)));
  RENGA_ASSIGN_OR_RETURN(c.pages_at, bench.Upload(table));
  RENGA_ASSIGN_OR_RETURN(c.positions_at, bench.Upload(std::vector<int32_t>{context - 1}));
  RENGA_ASSIGN_OR_RETURN(c.sequences_at, bench.Upload(std::vector<int32_t>{0}));
  RENGA_ASSIGN_OR_RETURN(c.y_at, bench.Allocate(heads.q_count() * 4));
  const size_t rows = static_cast<size_t>(heads.kv) * kMaxSplits * 16;
  RENGA_ASSIGN_OR_RETURN(c.parts_at, bench.Allocate(rows * heads.dim * 4));
  RENGA_ASSIGN_OR_RETURN(c.stats_at, bench.Allocate(rows * 2 * 4));
  RENGA_ASSIGN_OR_RETURN(c.tickets_at, bench.Upload(std::vector<uint32_t>(heads.kv)));
  return c;
}

kernels::AttentionArgs ArgsOf(const Case& c, int layer) {
  const size_t at = size_t{2} * layer * c.context * c.heads.width();
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

absl::Status LaunchBefore(const CudaBench& bench, const Case& c, int layer) {
  const kernels::AttentionArgs args = ArgsOf(c, layer);
  const size_t last = 2 * LastCell(c.context) * c.heads.width();
  return bench.Launch({"attention_before", {8, 1, 1}, 128, 0, ""},
                      BeforeArgs{c.q_from.data(), c.q_at.data(), c.last_k.data(),
                                 static_cast<const uint8_t*>(args.k_cache) + last, c.last_v.data(),
                                 static_cast<const uint8_t*>(args.v_cache) + last,
                                 c.heads.q_count(), static_cast<int>(c.heads.width())});
}

struct Expected {
  std::vector<double> values, allowed;  // [q_heads, head_dim]
};

// The cache's values are exact. q is a sum of two f16 (22 digits), weights of the sum are one f16,
// sums f32; an error e of the scores is one of 2 e, as a share, in the weights.
Expected Attend(const Case& c) {
  Expected expected;
  const int dim = c.heads.dim;
  const int64_t width = c.heads.width();
  std::vector<double> weights(c.context);
  for (int h = 0; h < c.heads.q; ++h) {
    const int kv_head = h / (c.heads.q / c.heads.kv);
    double largest = -1e300, error = 0, sum = 0;
    for (int j = 0; j < c.context; ++j) {
      // The order of the pages does not matter to the sum: every cell is visible.
      double score = 0, size = 0;
      for (int d = 0; d < dim; ++d) {
        const double product = double{c.q[h * dim + d]} * c.k[j * width + kv_head * dim + d];
        score += product;
        size += std::abs(product);
      }
      weights[j] = score * c.heads.scale();
      largest = std::max(largest, weights[j]);
      error = std::max(error, size * c.heads.scale() * std::ldexp(1, -19));
    }
    for (double& weight : weights) sum += weight = std::exp(weight - largest);
    const double share = 2 * error * std::exp(2 * error) + std::ldexp(1, -11) + 1e-5;
    for (int d = 0; d < dim; ++d) {
      double value = 0, size = 0;
      for (int j = 0; j < c.context; ++j) {
        const double part = weights[j] / sum * c.v[j * width + kv_head * dim + d];
        value += part;
        size += std::abs(part);
      }
      expected.values.push_back(value);
      expected.allowed.push_back(size * share + 1e-7);
    }
  }
  return expected;
}

std::string FirstWrong(const std::vector<float>& y, const Expected& expected, int dim) {
  for (size_t i = 0; i < y.size(); ++i) {
    if (std::abs(y[i] - expected.values[i]) <= expected.allowed[i]) continue;  // false for NaN
    return StrCat("head ", i / dim, " dim ", i % dim, " is ", y[i], ", expected ",
                  expected.values[i], " +- ", expected.allowed[i]);
  }
  return "";
}

std::string RowName(const Heads& heads, int context) {
  return StrCat("attention of the ", heads.name, " over ", context);
}

absl::Status BenchContext(const CudaBench& bench, const Heads& heads, int context, Table* table) {
  RENGA_ASSIGN_OR_RETURN(const Case c, MakeCase(bench, heads, context));
  const Expected expected = Attend(c);
  Row row = {.what = RowName(heads, context),
             .type = "f16",
             .tokens = 1,
             .bytes = 4.0 * context * heads.width()};
  // Microseconds a layer of the kernels before, with or without attention after each.
  const auto chain = [&](const Variant* variant) -> absl::StatusOr<double> {
    RENGA_ASSIGN_OR_RETURN(const double us, bench.Microseconds([&]() -> absl::Status {
      for (int i = 0; i < c.layers; ++i) {
        RENGA_RETURN_IF_ERROR(LaunchBefore(bench, c, i));
        if (variant != nullptr) RENGA_RETURN_IF_ERROR(bench.Launch(*variant, ArgsOf(c, i)));
      }
      return absl::OkStatus();
    }));
    return us / c.layers;
  };
  RENGA_ASSIGN_OR_RETURN(const double before, chain(nullptr));
  for (const Tile& tile : kTiles) {
    const codegen::AttentionShape shape = ShapeOf(heads, tile);
    for (const int splits : kSplits) {
      if (splits * tile.keys > context) continue;
      Variant variant = {KernelName(heads, tile),
                         {static_cast<unsigned>(splits), static_cast<unsigned>(shape.grid_y()), 1},
                         static_cast<unsigned>(shape.threads()),
                         shape.shared_bytes(),
                         ""};
      RENGA_ASSIGN_OR_RETURN(const int fit, bench.BlocksPerSm(variant));
      if (fit == 0) continue;
      variant.label = StrCat(splits, " splits, ", tile.key_warps, " warps, ", tile.stages, " x ",
                             tile.keys, " keys, ", fit, " blocks/SM");
      RENGA_RETURN_IF_ERROR(bench.stream().Fill(c.y_at.data(), 0xff, c.y_at.bytes()));
      RENGA_RETURN_IF_ERROR(bench.stream().Fill(c.q_at.data(), 0xff, c.q_at.bytes()));
      RENGA_RETURN_IF_ERROR(LaunchBefore(bench, c, c.layers - 1));
      RENGA_RETURN_IF_ERROR(bench.Launch(variant, ArgsOf(c, c.layers - 1)));
      RENGA_ASSIGN_OR_RETURN(const auto y, bench.Download<float>(c.y_at, heads.q_count()));
      const std::string wrong = FirstWrong(y, expected, heads.dim);
      if (!wrong.empty()) row.remark = StrCat(variant.kernel, " in ", splits, ": ", wrong);
      RENGA_ASSIGN_OR_RETURN(const double us, chain(&variant));
      if (row.us == 0 || us - before < row.us) {
        row.us = us - before;
        row.label = StrCat(variant.label, "; ", before, " us the kernel before");
      }
    }
  }
  table->Add(row);
  return absl::OkStatus();
}

// A shape that is good at any length.
constexpr Tile kStepTile = {4, 64, 2};
constexpr unsigned kStepSplits = 16;

class StepOfCase final : public AttentionStep {
 public:
  StepOfCase(const CudaBench& bench, Case c) : bench_(bench), case_(std::move(c)) {}

  absl::Status Launch(int layer, const float* q, float* y) const override {
    const codegen::AttentionShape shape = ShapeOf(kLlama8B, kStepTile);
    kernels::AttentionArgs args = ArgsOf(case_, layer % case_.layers);
    args.q = q;
    args.y = y;
    return bench_.Launch({KernelName(kLlama8B, kStepTile),
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
  RENGA_ASSIGN_OR_RETURN(Case c, MakeCase(bench, kLlama8B, context));
  return std::make_unique<StepOfCase>(bench, std::move(c));
}

KernelTexts AttentionTexts() {
  KernelTexts texts = {{"attention_before", std::string(kBefore)}};
  for (const Heads& heads : {kLlama8B, kQwenHalfB}) {
    for (const Tile& tile : kTiles) {
      texts[KernelName(heads, tile)] =
          StrCat(R"(#include "codegen/kernels/attention.cuh"
using namespace renga::kernels;
struct Config {
  static constexpr int kQueryHeads = )",
                 heads.q, ", kKvHeads = ", heads.kv, ", kHeadDim = ", heads.dim, R"(;
  static constexpr int kPageTokens = )",
                 kPageTokens, R"(, kWindow = 0, kRowWarps = 1, kTileTokens = )",
                 ShapeOf(heads, tile).tile_tokens, R"(;
  static constexpr int kKeyWarps = )",
                 tile.key_warps, ", kTileKeys = ", tile.keys, ", kStages = ", tile.stages,
                 ", kMaxSplits = ", kMaxSplits, R"(;
  static constexpr bool kCausal = true;
  static constexpr double kScale = )",
                 heads.scale(), R"(, kSoftCap = 0;
  using KeyCache = Half;
  using ValueCache = Half;
};
extern "C" __global__ void __launch_bounds__()",
                 32 * tile.key_warps, ", 1) ", KernelName(heads, tile),
                 "(const AttentionArgs args) { Attention<Config>(args); }\n");
    }
  }
  return texts;
}

void BenchAttention(const CudaBench& bench, Table* table) {
  for (const Heads& heads : {kLlama8B, kQwenHalfB}) {
    table->Section(StrCat("What attention of one token adds to a chain of kernels: ", heads.q,
                          " heads over ", heads.kv, " of ", heads.dim,
                          ", f16 cache; layers in turn"));
    for (const int context : kContexts) {
      table->AddFailure(RowName(heads, context), "f16", BenchContext(bench, heads, context, table));
    }
  }
}

}  // namespace renga::bench
