#include "codegen/emit/cuda_products.h"

#include <algorithm>

#include "ir/base/status.h"

namespace renga::codegen {
namespace {

// Threads of a row that becomes f16: so many that a thread has some 16 numbers of it, all on their
// way at a time.
int64_t HalfRowsThreads(int64_t pitch) {
  constexpr int64_t kLeast = 256, kMost = 1024, kNumbers = 16;
  int64_t threads = kLeast;
  while (threads < kMost && threads * kNumbers < pitch) threads *= 2;
  return threads;
}

std::string TargetNames(const GpuLimits& gpu) {
  std::vector<std::string_view> names;
  for (const GpuTarget* target : gpu.targets) names.push_back(target->name);
  return StrJoin(names, ",");
}

std::string ProductText(const ProductWeight& weight, const HalfRowsOf& x) {
  return StrCat("y = ", renga::Name(weight.type), "[", weight.rows, ",", weight.k,
                "] x + bias + residual, x in ", x.x_parts == 2 ? "two f16" : "f16");
}

// x as the sum of two f16 takes twice the products of one, and what its rounding adds to the
// logits' errors is gone. A step whose products are by fewer weights than this takes it: for 2,048
// rows those are at most 69 GFLOP, some 0.1 ms of an H100's tensor cores, and a model of such steps
// is held up by much else (docs/kernels-cuda.md has what it gains and costs). By weights and not by
// rows: a row's result shall not depend on what is computed beside it.
constexpr int64_t kTwoPartWeights = int64_t{1} << 24;

// Tiles and warps of a matrix product. Few rows: as many blocks as a multiprocessor each, for what
// is under way of the weights is so much a block; its warps divide its tiles and k, 16 of them
// where there are no more blocks than multiprocessors, else eight, of which two blocks fit. More
// blocks than that would read x more often than they gain. Rows of x come from L2 eight chunks
// ahead: a chunk is less work than the way there is long. Many: a block does 128 rows of weights
// by 64 rows of x; a weight of fewer rows takes fewer warps.
MatmulShape ShapeOf(const GpuLimits& gpu, bool few, const ProductWeight& weight) {
  MatmulShape shape = {.step_blocks = weight.layout.step_blocks};
  if (few) {
    const int64_t warps = weight.layout.tiles > 2 * gpu.multiprocessors ? 8 : 16;
    shape.tile_tokens = kFewRows;
    shape.row_tiles = 1;
    shape.row_warps = 1;
    while (shape.row_warps < 4 && weight.layout.tiles > gpu.multiprocessors * shape.row_warps) {
      shape.row_warps *= 2;
    }
    shape.depth_warps = warps / shape.row_warps;
    constexpr int64_t kLeastStages = 3, kMostStages = 8;
    while (shape.depth_warps > 1 &&
           (weight.layout.steps < 2 * shape.depth_warps ||
            shape.shared_bytes_of(kLeastStages) > gpu.shared_per_block)) {
      shape.depth_warps /= 2;
    }
    for (shape.stages = kLeastStages; shape.stages < kMostStages; ++shape.stages) {
      if (shape.shared_bytes_of(shape.stages + 1) > gpu.shared_per_block) break;
    }
    return shape;
  }
  // The codes of these two take more registers.
  const bool many_registers = weight.type == DType::kQ5_K || weight.type == DType::kQ6_K;
  shape.tile_tokens = many_registers ? 32 : 64;
  shape.row_tiles = 2;
  shape.row_warps = weight.layout.tiles >= 8 ? 4 : 2;
  shape.depth_warps = 1;
  shape.stages = 4;
  return shape;
}

// Tiles of rows of x in matmul_wgmma: how many of them the copy engine has under way, and the time
// of a row in eighths of that in the largest: the smaller a tile, the more dequantising a row.
// Measured at 2,048 rows (docs/benchmarks/cuda-kernels-2026-11-26.md).
struct WgmmaTile {
  int64_t tokens, stages, eighths;
};
constexpr WgmmaTile kWgmmaTiles[] = {{64, 6, 12}, {128, 6, 9}, {256, 5, 8}};

// Ends of ranges of rows that choose their tiles by themselves: at the end, so no range is wide.
constexpr int64_t kWgmmaRanges[] = {64, 128, 256, 512, 1024};

// How a product goes through matmul_wgmma.
struct WgmmaShape {
  WgmmaTile tile;
  int64_t splits;  // blocks that divide k

  int64_t grid_x(int64_t rows) const { return CeilDiv(rows, tile.tokens); }
  static int64_t grid_y(const ProductWeight& weight) { return CeilDiv(weight.rows, kWgmmaRows); }
};

// k is divided where the rows are few: each split writes and reads sums of all of them.
constexpr int64_t kMostSplits = 8, kMostSplitRows = 256;

// In the time of a token in eighths of that in the largest tile, for 64 k: what a block takes
// beside its products, and what splits take to join their sums.
constexpr int64_t kBlockCost = 9000, kJoinCost = 8000;

// The shape with which `rows` rows are done first. A multiprocessor holds one block, so what counts
// is the number of whole waves of them.
// The largest tile takes NVRTC seconds: only where long prompts spend their time.
WgmmaShape ShapeOf(const GpuLimits& gpu, const ProductWeight& weight, int64_t rows) {
  constexpr int64_t kRowsOfLargest = 1024;
  // Of many rows the start of a block is hidden well enough: with this counted, prompts of 2,048
  // were slower.
  const int64_t block_cost = rows <= kMostSplitRows ? kBlockCost : 0;
  WgmmaShape best = {kWgmmaTiles[0], 1};
  int64_t least = 0;
  for (const WgmmaTile& tile : kWgmmaTiles) {
    if (tile.tokens == std::end(kWgmmaTiles)[-1].tokens && rows < kRowsOfLargest) continue;
    for (int64_t splits = 1; splits <= (rows <= kMostSplitRows ? kMostSplits : 1); ++splits) {
      const int64_t steps = CeilDiv(weight.layout.steps, splits);
      if (splits > 1 && (splits - 1) * steps >= weight.layout.steps) continue;
      const WgmmaShape shape = {tile, splits};
      const int64_t blocks = shape.grid_x(rows) * WgmmaShape::grid_y(weight) * splits;
      const int64_t cost =
          CeilDiv(blocks, gpu.multiprocessors) *
              (steps * weight.layout.step_blocks / 2 * tile.tokens * tile.eighths + block_cost) +
          (splits > 1 ? kJoinCost : 0);
      if (least == 0 || cost < least) {
        least = cost;
        best = shape;
      }
    }
  }
  return best;
}

// Why wgmma does not multiply by all of `weights`, for people; empty where it does.
std::string NoWgmma(const GpuLimits& gpu, absl::Span<const ProductWeight* const> weights) {
  for (const GpuTarget* target : gpu.targets) {
    if (!target->wgmma) return StrCat(target->name, " has no wgmma");
  }
  for (const ProductWeight* weight : weights) {
    if (weight->type == DType::kF32) return "wgmma takes no f32 weights, which are sums of two f16";
    if (weight->layout.step_blocks % 2 != 0) {
      return StrCat("wgmma takes 64 k at a time, of which ", weight->k, " is no multiple");
    }
  }
  return "";
}

void AddMma(CudaStep& step, bool few, const HalfRowsOf& x, const ProductWeight& weight,
            const MatmulOperands& operands) {
  const MatmulShape shape = ShapeOf(step.gpu(), few, weight);
  step.Launch({
      .kernel = {.header = "matmul",
                 .call = "Matmul<Config>",
                 .args = "MatmulArgs",
                 .detail = StrCat("matmul_", weight.Name(), few ? "_few" : ""),
                 .config = {StrCat("using Weight = ", weight.Text(x.x_parts), ";"),
                            StrCat("static constexpr int kXParts = ", x.x_parts, ", kPitch = ",
                                   x.pitch, ", kTileTokens = ", shape.tile_tokens, ";"),
                            StrCat("static constexpr int kRowTiles = ", shape.row_tiles,
                                   ", kRowWarps = ", shape.row_warps, ", kDepthWarps = ",
                                   shape.depth_warps, ", kStages = ", shape.stages, ";")},
                 .threads = shape.threads(),
                 .ir = ProductText(weight, x)},
      .grid_x = plan::Constant(CeilDiv(weight.layout.tiles, shape.tiles_of_block())),
      .grid_y = plan::CeilDivide(step.rows(), shape.tile_tokens),
      .shared = plan::Constant(shape.shared_bytes()),
      .args = {Pointer("x", x.values), Pointer("factors", x.factors),
               Pointer("weight", weight.buffer), Pointer("bias", operands.bias),
               Pointer("residual", operands.residual), Pointer("y", operands.y),
               Int32("tokens", step.rows())},
  });
}

void AddWgmma(CudaStep& step, int64_t last, const HalfRowsOf& x, const ProductWeight& weight,
              const MatmulOperands& operands) {
  const WgmmaShape shape = ShapeOf(step.gpu(), weight, last);
  const WgmmaTile& tile = shape.tile;
  step.Launch({
      .kernel = {.header = "matmul_wgmma",
                 .call = "MatmulWgmma<Config>",
                 .args = "MatmulWgmmaArgs",
                 .detail = StrCat("wgmma_", weight.Name(), "_", tile.tokens,
                                  shape.splits > 1 ? StrCat("_in_", shape.splits) : ""),
                 .config = {StrCat("using Weight = ", weight.Text(x.x_parts), ";"),
                            StrCat("static constexpr int kXParts = ", x.x_parts,
                                   ", kPitch = ", x.pitch, ";"),
                            StrCat("static constexpr int kTileTokens = ", tile.tokens,
                                   ", kStages = ", tile.stages, ", kSplits = ", shape.splits, ";")},
                 .threads = kWgmmaThreads,
                 .ir = ProductText(weight, x),
                 .has_tensor_map = true},
      .grid_x = plan::CeilDivide(step.rows(), tile.tokens),
      .grid_y = plan::Constant(WgmmaShape::grid_y(weight)),
      .grid_z = plan::Constant(shape.splits),
      .shared = plan::Constant(MatmulWgmmaShared(tile.tokens, tile.stages, shape.splits)),
      .args = {RowTiles("map", x.values, step.rows(), x.x_parts * x.pitch, tile.tokens),
               Pointer("x", -1), Pointer("factors", x.factors), Pointer("weight", weight.buffer),
               Pointer("bias", operands.bias), Pointer("residual", operands.residual),
               Pointer("y", operands.y), Int32("tokens", step.rows()),
               Pointer("parts", shape.splits > 1 ? x.parts : -1),
               Pointer("tickets", shape.splits > 1 ? x.tickets : -1)},
  });
}

}  // namespace

absl::StatusOr<ProductWeight> WeightOf(const CudaStep& step, std::string_view name) {
  const Value& value = step.value(name);
  if (!HasMmaLayout(value.type.dtype)) {
    return absl::UnimplementedError(
        StrCat(RefText(value), ": type ", Name(value.type.dtype), " has no kernel for ",
               TargetNames(step.gpu()), "; supported: ", ProductTypeNames(),
               "; quantise the tensor to one of these, or use --target cpu, which has all types"));
  }
  if (value.layout != "mma") {
    return absl::InvalidArgumentError(StrCat(RefText(value), ": expected a weight in layout mma, ",
                                             "which pack-weights gives it, got ",
                                             value.layout.empty() ? "the file's" : value.layout));
  }
  ProductWeight weight{.type = value.type.dtype, .buffer = step.operand(name)};
  if (value.type.rank() != 2) {
    return absl::UnimplementedError(
        StrCat(RefText(value), ": expected a matrix, got ", ToString(value.type)));
  }
  RENGA_ASSIGN_OR_RETURN(weight.rows, step.ConstSize(name, 0));
  RENGA_ASSIGN_OR_RETURN(weight.k, step.ConstSize(name, 1));
  const absl::StatusOr<MmaLayout> layout = MmaLayoutOf(weight.type, weight.rows, weight.k);
  if (!layout.ok()) return Annotate(layout.status(), RefText(value));
  weight.layout = *layout;
  return weight;
}

int64_t ProductWarps(const GpuLimits& gpu, const MmaLayout& layout, int64_t tiles) {
  // Where a multiprocessor has a single tile, its warps have all of it under way. And a row of x
  // that eight warps cannot keep in registers (32 a thread) is so long that two or more of them
  // leave no room for a second block, which would come when the first has ended and read x again:
  // two rows of 14,336 took 1.6 times as long as one, four 2.4 times.
  constexpr int64_t kFewWarps = 8, kManyWarps = 16;
  const bool long_rows = layout.padded_k() > 32 * 32 * kFewWarps;
  if (layout.steps >= 16 && (tiles <= gpu.multiprocessors || long_rows)) return kManyWarps;
  return layout.steps >= 8 ? kFewWarps : 4;
}

int64_t ProductBlocks(const GpuLimits& gpu, int64_t tiles, int64_t warps) {
  // As few waves as the multiprocessors allow, at most two blocks in each, and equal ones.
  const int64_t waves =
      CeilDiv(tiles, std::min<int64_t>(2, ProductBlocksPerSm(warps)) * gpu.multiprocessors);
  return CeilDiv(tiles, waves);
}

int64_t AlikeRows(int64_t rows, int64_t x_parts) {
  return x_parts == 1 ? rows : std::min(rows, kDecodeRows / x_parts);
}

plan::Expr SharedBytes(const TokenBytes& bytes, const plan::Expr& rows) {
  return plan::Constant(bytes.fixed) + rows * plan::Constant(bytes.per_token);
}

std::string DecodeReason(int64_t rows, int64_t wanted) {
  if (rows == wanted) return "one pass over the weights serves all columns of an mma";
  return StrCat("one pass over the weights; more than ", rows,
                " rows do not fit a block's shared memory");
}

int64_t XParts(absl::Span<const ProductWeight* const> weights) {
  int64_t count = 0;
  for (const ProductWeight* weight : weights) count += weight->rows * weight->k;
  return count < kTwoPartWeights ? 2 : 1;
}

int64_t DecodeRows(const GpuLimits& gpu, absl::Span<const ProductWeight* const> weights) {
  if (XParts(weights) == 1) return kDecodeRows;
  // Two columns a row: more than four rows are a second product. Where its sums do not fit a
  // thread's registers (nvcc 13.0: linear in MXFP4 for sm_90a, gate and up in Q5_0 for sm_100a and
  // in BF16 for sm_120a), the kernels of many rows take them, for two to three times as long.
  constexpr int kManyRegistersBelow = 100;
  constexpr DType kNeedMany[] = {DType::kBF16, DType::kMXFP4};
  const bool fits =
      std::all_of(gpu.targets.begin(), gpu.targets.end(),
                  [](const GpuTarget* target) { return target->sm < kManyRegistersBelow; }) &&
      std::none_of(weights.begin(), weights.end(), [&](const ProductWeight* weight) {
        return std::count(std::begin(kNeedMany), std::end(kNeedMany), weight->type) > 0;
      });
  return fits ? kDecodeRows : kDecodeRows / 2;
}

std::string XPartsReason(int64_t x_parts) {
  return x_parts == 2 ? "; x as the sum of two f16, for products by few weights" : "";
}

double NormEps(const CudaStep& step) { return step.has("norm") ? step.Float("eps") : 0; }

std::string NormConfig(const CudaStep& step) {
  return StrCat("static constexpr bool kNorm = ", step.has("norm") ? "true" : "false",
                "; static constexpr float kEps = ", FloatText(NormEps(step)), ";");
}

std::string SizesConfig(int64_t rows, int64_t warps, int64_t x_parts) {
  return StrCat("static constexpr int kTokens = ", rows, ", kWarps = ", warps,
                ", kXParts = ", x_parts, ";");
}

absl::StatusOr<HalfRowsOf> HalfRowsScratch(CudaStep& step,
                                           absl::Span<const ProductWeight* const> weights,
                                           absl::Span<const ManyRows> variants, int64_t x_parts) {
  HalfRowsOf half = {.x_parts = x_parts};
  int64_t parts = 0, tickets = 0;
  for (const ProductWeight* weight : weights) {
    half.pitch = std::max(half.pitch, weight->layout.padded_k());
    for (const ManyRows& rows : variants) {
      if (rows.matmul != Matmul::kWgmma) continue;
      const WgmmaShape shape = ShapeOf(step.gpu(), *weight, rows.last);
      if (shape.splits == 1) continue;
      parts = std::max(parts, shape.splits * rows.last * weight->rows);
      tickets = std::max(tickets, shape.grid_x(rows.last) * WgmmaShape::grid_y(*weight));
    }
  }
  RENGA_ASSIGN_OR_RETURN(half.values,
                         step.RowScratch("half", DType::kF16, half.x_parts * half.pitch));
  RENGA_ASSIGN_OR_RETURN(half.factors, step.RowScratch("factors", DType::kF32, 1));
  if (tickets > 0) {
    RENGA_ASSIGN_OR_RETURN(half.parts, step.Scratch("parts", DType::kF32, parts));
    half.tickets = step.Persistent("wgmma.tickets", 4 * tickets);
  }
  return half;
}

absl::StatusOr<std::string> ChooseProductWay(CudaStep& step,
                                             absl::Span<const ProductWeight* const> weights) {
  std::vector<std::string> ways = {std::string(kAutoWay), "few", "mma"};
  std::string reason = "by the number of rows; the step's variants say why";
  if (std::string no_wgmma = NoWgmma(step.gpu(), weights); no_wgmma.empty()) {
    ways.push_back("wgmma");
  } else {
    StrAppend(&reason, "; ", no_wgmma);
  }
  return step.ChooseWay(ways, std::move(reason));
}

std::vector<ManyRows> ManyRowsVariants(const CudaStep& step, std::string_view way, int64_t decoded,
                                       absl::Span<const ProductWeight* const> weights) {
  std::vector<ManyRows> variants;
  const int64_t most = step.max_rows();
  if (most <= decoded) return variants;
  const bool only_mma = way == "mma", only_wgmma = way == "wgmma";
  if (only_mma) {
    variants.push_back({Matmul::kMany, most, "tiles of 64 rows, as asked for"});
    return variants;
  }
  if (decoded < kFewRows && !only_wgmma) {
    variants.push_back({Matmul::kFew, kFewRows,
                        "weights are read once for up to 16 rows; warps divide k to load enough "
                        "of them"});
  }
  if (most <= kFewRows && !only_wgmma) return variants;
  if (const std::string no_wgmma = NoWgmma(step.gpu(), weights); !no_wgmma.empty()) {
    variants.push_back({Matmul::kMany, most,
                        StrCat("tiles of 64 rows: a weight serves many products; ", no_wgmma)});
    return variants;
  }
  const auto add = [&](int64_t last) {
    variants.push_back({Matmul::kWgmma, last,
                        "wgmma, which even in tiles that are half empty is faster than mma.sync "
                        "from 32 rows on; tiles that fill the GPU in few waves"});
  };
  for (const int64_t last : kWgmmaRanges) {
    if (last < most) add(last);
  }
  add(most);
  return variants;
}

void AddHalfRows(CudaStep& step, Matmul matmul, const HalfRowsOf& half, int64_t k) {
  const bool normed = step.has("norm"), wgmma = matmul == Matmul::kWgmma;
  const int64_t threads = HalfRowsThreads(half.pitch);
  step.Launch({
      .kernel = {.header = "half_rows",
                 .call = "HalfRows<Config>",
                 .args = "HalfRowsArgs",
                 .detail = StrCat("half_rows_", k, normed ? "_norm" : "", wgmma ? "_wgmma" : ""),
                 .config = {StrCat("static constexpr int kK = ", k, ", kPaddedK = ", half.pitch,
                                   ", kXParts = ", half.x_parts, ", kThreads = ", threads, ";"),
                            StrCat("static constexpr bool kNorm = ", normed ? "true" : "false",
                                   ", kWgmmaOrder = ", wgmma ? "true" : "false", ";"),
                            StrCat("static constexpr float kEps = ", FloatText(NormEps(step)),
                                   ";")},
                 .threads = threads,
                 .ir = StrCat("f16 rows of x", half.x_parts == 2 ? ", in two parts" : "",
                              normed ? ", normed" : "", ", before a product")},
      .grid_x = step.rows(),
      .shared = plan::Constant(8 * threads / 32),
      .args = {Pointer("x", step.operand("x")), Pointer("norm", step.operand("norm")),
               Pointer("y", half.values), Pointer("factors", half.factors)},
  });
}

void AddMatmul(CudaStep& step, const ManyRows& rows, const HalfRowsOf& x,
               const ProductWeight& weight, const MatmulOperands& operands) {
  if (rows.matmul == Matmul::kWgmma) {
    AddWgmma(step, rows.last, x, weight, operands);
  } else {
    AddMma(step, rows.matmul == Matmul::kFew, x, weight, operands);
  }
}

}  // namespace renga::codegen
