// qkv_rope, rope and kv_append on GPUs.
#include <algorithm>

#include "codegen/emit/cuda_cache.h"
#include "codegen/emit/cuda_families.h"
#include "codegen/emit/cuda_products.h"
#include "codegen/emit/cuda_rope.h"
#include "ir/base/status.h"

namespace renga::codegen {
namespace {

constexpr int64_t kHeadWarps = 4;  // of a block that takes a head a warp

std::string HeadsConfig(int64_t heads, int64_t head_dim) {
  return StrCat("static constexpr int kHeads = ", heads, ", kHeadDim = ", head_dim,
                ", kWarps = ", kHeadWarps, ";");
}

// Blocks of heads of all rows, a head a warp.
plan::Expr HeadBlocks(const CudaStep& step, int64_t heads) {
  return plan::Min(plan::CeilDivide(step.rows() * plan::Constant(heads), kHeadWarps),
                   plan::Constant(8 * step.gpu().multiprocessors));
}

// y = rope(x) of [rows, heads, head_dim]; y may be x.
CudaLaunch RopeLaunch(const CudaStep& step, int64_t heads, int64_t head_dim, int32_t x, int32_t y) {
  std::vector<std::string> config = {HeadsConfig(heads, head_dim)};
  for (std::string& line : RopeConfig(step)) config.push_back(std::move(line));
  return {
      .kernel = {.header = "heads",
                 .call = "RopeAlone<Config>",
                 .args = "RopeArgs",
                 .detail = StrCat("rope_", heads, "x", head_dim),
                 .config = std::move(config),
                 .threads = 32 * kHeadWarps,
                 .ir = StrCat("y = rope(x) of ", heads, " heads of ", head_dim)},
      .grid_x = HeadBlocks(step, heads),
      .shared = plan::Constant(kHeadWarps * head_dim * 4),
      .args = {Pointer("x", x), Pointer("positions", step.operand("positions")),
               Pointer("factors", step.operand("factors")), Pointer("y", y),
               Int32("tokens", step.rows())},
  };
}

CudaLaunch KvAppendLaunch(const CudaStep& step, int64_t heads, int64_t head_dim,
                          const CudaCache& cache, int32_t x) {
  return {
      .kernel = {.header = "heads",
                 .call = "KvAppend<Config>",
                 .args = "KvAppendArgs",
                 .detail = StrCat("kv_append_", heads, "x", head_dim),
                 .config = {HeadsConfig(heads, head_dim),
                            StrCat("using Element = ", cache.element, ";")},
                 .threads = 32 * kHeadWarps,
                 .ir = StrCat("cache[cells] = x, ", heads, " heads of ", head_dim)},
      .grid_x = HeadBlocks(step, heads),
      .shared = plan::Constant(kHeadWarps * head_dim * 4),
      .args = {Pointer("x", x), Pointer("cells", step.operand("cells")), cache.Values("cache"),
               cache.Scales("scales"), Int32("tokens", step.rows())},
  };
}

// Everything about a qkv_rope that its kernels need.
struct Qkv {
  ProductWeight q, k, v;
  int64_t q_heads, kv_heads, head_dim;
  CudaCache k_cache, v_cache;

  int64_t padded_k() const {
    return std::max({q.layout.padded_k(), k.layout.padded_k(), v.layout.padded_k()});
  }
  int64_t x_parts() const { return XParts({&q, &k, &v}); }
  int64_t decode_rows(const GpuLimits& gpu) const { return DecodeRows(gpu, {&q, &k, &v}); }
};

absl::StatusOr<Qkv> QkvOf(const CudaStep& step) {
  RENGA_RETURN_IF_ERROR(
      step.RequireF32({"x", "norm", "q_bias", "k_bias", "v_bias", "q_norm", "k_norm", "factors"}));
  Qkv qkv;
  RENGA_ASSIGN_OR_RETURN(qkv.q, WeightOf(step, "q"));
  RENGA_ASSIGN_OR_RETURN(qkv.k, WeightOf(step, "k"));
  RENGA_ASSIGN_OR_RETURN(qkv.v, WeightOf(step, "v"));
  qkv.q_heads = step.Int("q_heads");
  qkv.kv_heads = step.Int("kv_heads");
  qkv.head_dim = qkv.q.rows / qkv.q_heads;
  RENGA_ASSIGN_OR_RETURN(qkv.k_cache, CacheOf(step, "k_cache"));
  RENGA_ASSIGN_OR_RETURN(qkv.v_cache, CacheOf(step, "v_cache"));
  if (qkv.head_dim % 2 != 0 || qkv.v.rows != qkv.k.rows) {
    return absl::UnimplementedError(StrCat(RefText(step.value("q")), ": heads of ", qkv.head_dim,
                                           ", keys of ", qkv.k.rows, " and values of ", qkv.v.rows,
                                           " rows have no kernel on GPUs; supported: even sizes, ",
                                           "equal for keys and values; use --target cpu"));
  }
  return qkv;
}

int64_t WarpsOf(const GpuLimits& gpu, const Qkv& qkv) {
  return ProductWarps(gpu, qkv.q.layout,
                      qkv.q.layout.tiles + qkv.k.layout.tiles + qkv.v.layout.tiles);
}

// The blocks of a grid divided among the three weights, by their tiles.
std::array<int64_t, 3> DivideBlocks(const GpuLimits& gpu, const Qkv& qkv) {
  const std::array<int64_t, 3> tiles = {qkv.q.layout.tiles, qkv.k.layout.tiles, qkv.v.layout.tiles};
  const int64_t all = tiles[0] + tiles[1] + tiles[2],
                blocks = ProductBlocks(gpu, all, WarpsOf(gpu, qkv));
  std::array<int64_t, 3> divided;
  for (size_t i = 0; i < 3; ++i) divided[i] = std::max<int64_t>(1, tiles[i] * blocks / all);
  return divided;
}

std::string HeadNormConfig(const CudaStep& step) {
  const bool has = step.has("q_norm");
  return StrCat("static constexpr bool kHeadNorm = ", has ? "true" : "false",
                "; static constexpr float kHeadEps = ", FloatText(has ? step.Float("head_eps") : 0),
                ";");
}

// Norms of heads, RoPE and the cache, of what the products gave.
CudaLaunch FinishHeadsLaunch(const CudaStep& step, const Qkv& qkv, int32_t q, int32_t k,
                             int32_t v) {
  std::vector<std::string> config = {
      StrCat("static constexpr int kQueryHeads = ", qkv.q_heads, ", kKvHeads = ", qkv.kv_heads,
             ", kHeadDim = ", qkv.head_dim, ", kWarps = ", kHeadWarps, ";"),
      HeadNormConfig(step),
      StrCat("using KeyCache = ", qkv.k_cache.element, "; using ValueCache = ", qkv.v_cache.element,
             ";")};
  for (std::string& line : RopeConfig(step)) config.push_back(std::move(line));
  return {
      .kernel = {.header = "heads",
                 .call = "FinishHeads<Config>",
                 .args = "FinishHeadsArgs",
                 .detail = StrCat("heads_", qkv.q_heads, "_", qkv.kv_heads, "x", qkv.head_dim),
                 .config = std::move(config),
                 .threads = 32 * kHeadWarps,
                 .ir = StrCat("rope(q), k_cache[cells] = rope(k), v_cache[cells] = v of heads of ",
                              qkv.head_dim)},
      .grid_x = HeadBlocks(step, qkv.q_heads + 2 * qkv.kv_heads),
      .shared = plan::Constant(kHeadWarps * qkv.head_dim * 4),
      .args = {Pointer("q", q), Pointer("k", k), Pointer("v", v),
               Pointer("q_norm", step.operand("q_norm")), Pointer("k_norm", step.operand("k_norm")),
               Pointer("factors", step.operand("factors")),
               Pointer("positions", step.operand("positions")),
               Pointer("cells", step.operand("cells")), Pointer("q_out", step.result(0)),
               qkv.k_cache.Values("k_cache"), qkv.k_cache.Scales("k_scales"),
               qkv.v_cache.Values("v_cache"), qkv.v_cache.Scales("v_scales"),
               Int32("tokens", step.rows())},
  };
}

absl::Status AddFused(CudaStep& step, const Qkv& qkv, int64_t rows) {
  const int64_t warps = WarpsOf(step.gpu(), qkv);
  const std::array<int64_t, 3> blocks = DivideBlocks(step.gpu(), qkv);
  std::vector<std::string> config = {
      StrCat("using Query = ", qkv.q.Text(qkv.x_parts()), ";"),
      StrCat("using Key = ", qkv.k.Text(qkv.x_parts()), ";"),
      StrCat("using Value = ", qkv.v.Text(qkv.x_parts()), ";"),
      SizesConfig(rows, warps, qkv.x_parts()),
      StrCat("static constexpr int kQueryBlocks = ", blocks[0], ", kKeyBlocks = ", blocks[1],
             ", kValueBlocks = ", blocks[2], ";"),
      StrCat("static constexpr int kQueryHeads = ", qkv.q_heads, ", kKvHeads = ", qkv.kv_heads,
             ", kHeadDim = ", qkv.head_dim, ";"),
      NormConfig(step),
      HeadNormConfig(step),
      StrCat("using KeyCache = ", qkv.k_cache.element, "; using ValueCache = ", qkv.v_cache.element,
             ";")};
  for (std::string& line : RopeConfig(step)) config.push_back(std::move(line));
  RENGA_ASSIGN_OR_RETURN(const int32_t raw,
                         step.RowScratch("raw", DType::kF32, qkv.q.rows + 2 * qkv.k.rows));
  step.Launch({
      .kernel = {.header = "qkv_rope",
                 .call = "QkvRope<Config>",
                 .args = "QkvRopeArgs",
                 .detail = StrCat("qkv_rope_", Name(qkv.q.type), "_", Name(qkv.k.type), "_",
                                  Name(qkv.v.type), "_", qkv.q.k),
                 .config = std::move(config),
                 .threads = 32 * warps,
                 .blocks_per_sm = ProductBlocksPerSm(warps)},
      .grid_x = plan::Constant(blocks[0] + blocks[1] + blocks[2]),
      .shared = SharedBytes(
          QkvRopeShared(static_cast<int>(warps), rows, qkv.padded_k(), qkv.head_dim, qkv.x_parts()),
          step.rows()),
      .args = {Pointer("x", step.operand("x")),
               Pointer("norm", step.operand("norm")),
               Pointer("q", qkv.q.buffer),
               Pointer("k", qkv.k.buffer),
               Pointer("v", qkv.v.buffer),
               Pointer("q_bias", step.operand("q_bias")),
               Pointer("k_bias", step.operand("k_bias")),
               Pointer("v_bias", step.operand("v_bias")),
               Pointer("q_norm", step.operand("q_norm")),
               Pointer("k_norm", step.operand("k_norm")),
               Pointer("factors", step.operand("factors")),
               Pointer("positions", step.operand("positions")),
               Pointer("cells", step.operand("cells")),
               Pointer("q_out", step.result(0)),
               qkv.k_cache.Values("k_cache"),
               qkv.k_cache.Scales("k_scales"),
               qkv.v_cache.Values("v_cache"),
               qkv.v_cache.Scales("v_scales"),
               Pointer("raw", raw),
               Pointer("tickets",
                       step.Persistent("qkv_rope.tickets", 4 * (qkv.q_heads + 2 * qkv.kv_heads))),
               Int32("tokens", step.rows())},
  });
  step.EndVariant(
      rows, StrCat(DecodeReason(rows, qkv.decode_rows(step.gpu())), XPartsReason(qkv.x_parts())),
      AlikeRows(rows, qkv.x_parts()));
  return absl::OkStatus();
}

}  // namespace

absl::Status EmitCudaQkvRope(const Node& node, std::string_view kernel, PlanBuilder& builder) {
  RENGA_ASSIGN_OR_RETURN(CudaStep step, CudaStep::Create(node, kernel, node.results[0], builder));
  RENGA_ASSIGN_OR_RETURN(const Qkv qkv, QkvOf(step));
  const auto weights = {&qkv.q, &qkv.k, &qkv.v};
  RENGA_ASSIGN_OR_RETURN(const std::string way, ChooseProductWay(step, weights));
  const int64_t rows = StreamedRows(step.gpu(), way, qkv.decode_rows(step.gpu()), [&](int64_t n) {
    return QkvRopeShared(static_cast<int>(WarpsOf(step.gpu(), qkv)), n, qkv.padded_k(),
                         qkv.head_dim, qkv.x_parts())
        .At(n);
  });
  if (rows > 0) RENGA_RETURN_IF_ERROR(AddFused(step, qkv, rows));
  if (rows >= step.max_rows()) return absl::OkStatus();

  // Beyond that: the three products, then what is done to heads.
  RENGA_ASSIGN_OR_RETURN(const int32_t q, step.RowScratch("q", DType::kF32, qkv.q.rows));
  RENGA_ASSIGN_OR_RETURN(const int32_t k, step.RowScratch("k", DType::kF32, qkv.k.rows));
  RENGA_ASSIGN_OR_RETURN(const int32_t v, step.RowScratch("v", DType::kF32, qkv.v.rows));
  return EmitManyRows(step, way, rows, weights, qkv.x_parts(),
                      [&](const ManyRows& many, const HalfRowsOf& x) {
                        AddMatmul(step, many, x, qkv.q, {.bias = step.operand("q_bias"), .y = q});
                        AddMatmul(step, many, x, qkv.k, {.bias = step.operand("k_bias"), .y = k});
                        AddMatmul(step, many, x, qkv.v, {.bias = step.operand("v_bias"), .y = v});
                        step.Launch(FinishHeadsLaunch(step, qkv, q, k, v));
                      });
}

absl::Status EmitCudaRope(const Node& node, std::string_view kernel, PlanBuilder& builder) {
  RENGA_ASSIGN_OR_RETURN(CudaStep step, CudaStep::Create(node, kernel, node.results[0], builder));
  RENGA_RETURN_IF_ERROR(step.RequireF32({"x", "factors"}));
  RENGA_ASSIGN_OR_RETURN(const int64_t heads, step.ConstSize("x", 1));
  RENGA_ASSIGN_OR_RETURN(const int64_t head_dim, step.ConstSize("x", 2));
  step.Launch(RopeLaunch(step, heads, head_dim, step.operand("x"), step.result(0)));
  step.EndVariant(step.max_rows(), "a head a warp");
  return absl::OkStatus();
}

absl::Status EmitCudaKvAppend(const Node& node, std::string_view kernel, PlanBuilder& builder) {
  // Rows are those of x: the result is the cache.
  constexpr size_t kX = 1;
  RENGA_ASSIGN_OR_RETURN(CudaStep step, CudaStep::Create(node, kernel, node.operands[kX], builder));
  RENGA_RETURN_IF_ERROR(step.RequireF32({"x"}));
  RENGA_ASSIGN_OR_RETURN(const int64_t heads, step.ConstSize("x", 1));
  RENGA_ASSIGN_OR_RETURN(const int64_t head_dim, step.ConstSize("x", 2));
  RENGA_ASSIGN_OR_RETURN(const CudaCache cache, CacheOf(step, "cache"));
  step.Launch(KvAppendLaunch(step, heads, head_dim, cache, step.operand("x")));
  step.EndVariant(step.max_rows(), "a head a warp");
  return absl::OkStatus();
}

}  // namespace renga::codegen
