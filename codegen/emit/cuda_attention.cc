// attention on GPUs. Up to 8 tokens: the keys of a tile are divided among the warps of a block and,
// where the positions are many, among blocks, so that a long context keeps the GPU busy. More
// tokens: a tile of rows goes over all its keys, and each of its sequences is a block's.
#include <algorithm>
#include <optional>

#include "codegen/emit/cuda_cache.h"
#include "codegen/emit/cuda_families.h"
#include "codegen/emit/cuda_key_bias.h"
#include "codegen/emit/cuda_source.h"
#include "codegen/emit/kernel_shapes.h"
#include "ir/base/status.h"

namespace renga::codegen {
namespace {

constexpr int64_t kDecodeTokens = 8;
constexpr int64_t kMaxHeadDim = 256;
constexpr int64_t kMostSplits = 64;

struct Heads {
  int64_t q, kv, dim;
  CudaCache k_cache, v_cache;
  CudaKeyBias k_bias;
};

absl::StatusOr<Heads> HeadsOf(const CudaStep& step) {
  Heads heads;
  RENGA_ASSIGN_OR_RETURN(heads.k_cache, CacheOf(step, "k_cache"));
  RENGA_ASSIGN_OR_RETURN(heads.v_cache, CacheOf(step, "v_cache"));
  RENGA_ASSIGN_OR_RETURN(heads.k_bias, KeyBiasOf(step));
  if (heads.k_bias.there()) {
    heads.k_cache.shape.parts = 2;  // more digits than the cache has
    heads.k_cache.copied = false;
  }
  RENGA_ASSIGN_OR_RETURN(heads.q, step.ConstSize("q", 1));
  RENGA_ASSIGN_OR_RETURN(heads.dim, step.ConstSize("q", 2));
  RENGA_ASSIGN_OR_RETURN(heads.kv, step.ConstSize("k_cache", 1));
  RENGA_ASSIGN_OR_RETURN(const int64_t value_dim, step.ConstSize("v_cache", 2));
  if (value_dim != heads.dim || heads.dim % 2 != 0 || heads.dim > kMaxHeadDim) {
    return absl::UnimplementedError(
        StrCat(RefText(step.value("q")), ": heads of ", heads.dim, " and values of ", value_dim,
               " have no kernel on GPUs; supported: even sizes up to ", kMaxHeadDim,
               ", equal for keys and values; use --target cpu"));
  }
  return heads;
}

// Blocks for few tokens that a multiprocessor holds: by its shared memory, and by registers, of
// which those for larger heads take more than half.
int64_t ResidentBlocks(const CudaStep& step, const AttentionShape& shape) {
  constexpr int64_t kMost = 2, kMostDim = 64;
  // A block may have all of a multiprocessor's but for what the system takes of it for each.
  constexpr int64_t kTaken = 1024;
  if (shape.head_dim > kMostDim) return 1;
  return std::clamp<int64_t>(
      (step.gpu().shared_per_block + kTaken) / (shape.shared_bytes() + kTaken), 1, kMost);
}

// As many blocks of one token as run at a time: the last of them would otherwise start where the
// first ends, and take as long again.
int64_t SplitsOf(const CudaStep& step, const AttentionShape& shape) {
  const int64_t blocks = step.gpu().multiprocessors * ResidentBlocks(step, shape);
  return std::clamp<int64_t>(blocks / shape.grid_y(), 1, kMostSplits);
}

// The first of the shapes, from the one that does most at a time on, that fits a block.
std::optional<AttentionShape> FittingShape(const CudaStep& step, const Heads& heads, bool decode) {
  const int64_t group = heads.q / heads.kv;
  struct Size {
    int64_t row_warps, key_warps, tile_keys, stages;
  };
  constexpr Size kDecode[] = {
      {1, 8, 128, 2}, {1, 8, 128, 1}, {1, 4, 64, 1}, {1, 2, 32, 1}, {1, 1, 16, 1}};
  constexpr Size kPrefill[] = {{4, 1, 32, 2}, {4, 1, 32, 1}, {2, 1, 32, 1}, {1, 1, 16, 1}};
  // A few tokens are mostly of as many sequences, whose keys one block should not read in turn.
  for (const Size& size : decode ? absl::MakeConstSpan(kDecode) : absl::MakeConstSpan(kPrefill)) {
    AttentionShape shape = {
        .q_heads = heads.q,
        .kv_heads = heads.kv,
        .head_dim = heads.dim,
        .row_warps = size.row_warps,
        .key_warps = size.key_warps,
        .tile_tokens = decode ? 1 : std::max<int64_t>(1, 16 * size.row_warps / group),
        .tile_keys = size.tile_keys,
        .stages = size.stages,
        .max_splits = 1,
        .keys = heads.k_cache.shape,
        .values = heads.v_cache.shape,
        .bias_dims = heads.k_bias.dims};
    // Turning a block of 32 back takes registers, of which a large head's output has half.
    const bool turns = shape.keys.code_bits == 4 || shape.values.code_bits == 4;
    if (!decode && turns && heads.dim > 128) shape.tile_keys = 16;
    // What passes through registers on its way to shared memory is there at once: a second stage
    // gains nothing.
    const bool copied = (heads.k_cache.copied || shape.codes(shape.keys, true)) &&
                        (heads.v_cache.copied || shape.codes(shape.values, false));
    if (shape.stages > 1 && !copied) continue;
    if (decode) shape.max_splits = SplitsOf(step, shape);
    if (shape.shared_bytes() <= step.gpu().shared_per_block) return shape;
  }
  return std::nullopt;
}

std::vector<std::string> ConfigOf(const CudaStep& step, const Heads& heads,
                                  const AttentionShape& shape) {
  std::vector<std::string> config = {
      StrCat("static constexpr int kQueryHeads = ", shape.q_heads, ", kKvHeads = ", shape.kv_heads,
             ", kHeadDim = ", shape.head_dim, ";"),
      StrCat("using KeyCache = ", heads.k_cache.element,
             "; using ValueCache = ", heads.v_cache.element, ";"),
      StrCat("static constexpr int kPageTokens = ", step.Int("page_tokens"),
             ", kWindow = ", step.Int("window"), ";"),
      "static constexpr bool kCausal = true;",
      StrCat("static constexpr double kScale = ", DoubleText(step.Float("scale")),
             ", kSoftCap = 0.0;"),
      StrCat("static constexpr int kRowWarps = ", shape.row_warps,
             ", kKeyWarps = ", shape.key_warps, ", kTileTokens = ", shape.tile_tokens,
             ", kTileKeys = ", shape.tile_keys, ", kStages = ", shape.stages,
             ", kMaxSplits = ", shape.max_splits, ";")};
  config.insert(config.end(), heads.k_bias.config.begin(), heads.k_bias.config.end());
  return config;
}

// What the blocks of a split tile hand to the one that combines them.
struct Parts {
  int32_t values = -1, stats = -1, tickets = -1;
};

absl::Status AddLaunch(CudaStep& step, const Heads& heads, const AttentionShape& shape,
                       const plan::Expr& grid_x, const Parts& parts, std::string_view detail) {
  RENGA_ASSIGN_OR_RETURN(const plan::Expr span, step.Symbol(step.NameAttr("span")));
  const Dim& page_columns = step.type("pages").shape.back();
  plan::Expr pages = plan::Constant(page_columns.value);
  if (page_columns.is_symbol()) {
    RENGA_ASSIGN_OR_RETURN(pages, step.Symbol(page_columns.symbol));
  }
  const bool biased = heads.k_bias.there();
  CudaLaunch launch = {
      .kernel = {.header = "attention",
                 .call = biased ? "BiasedAttention<Config>" : "Attention<Config>",
                 .args = biased ? "BiasedAttentionArgs" : "AttentionArgs",
                 .detail = StrCat("attention_", shape.q_heads, "_", shape.kv_heads, "x",
                                  shape.head_dim, "_", detail),
                 .config = ConfigOf(step, heads, shape),
                 .threads = shape.threads()},
      .grid_x = grid_x,
      .grid_y = plan::Constant(shape.grid_y()),
      .grid_z = plan::CeilDivide(step.rows(), shape.tile_tokens),
      .shared = plan::Constant(shape.shared_bytes()),
      .args = {Pointer("q", step.operand("q")), heads.k_cache.Values("k_cache"),
               heads.k_cache.Scales("k_scales"), heads.v_cache.Values("v_cache"),
               heads.v_cache.Scales("v_scales"), Pointer("positions", step.operand("positions")),
               Pointer("sequences", step.operand("sequences")),
               Pointer("pages", step.operand("pages")), Pointer("sinks", step.operand("sinks")),
               Pointer("y", step.result(0)), Pointer("part_values", parts.values),
               Pointer("part_stats", parts.stats), Pointer("tickets", parts.tickets),
               Int32("pages_of_sequence", pages), Int32("span", span),
               Int32("tokens", step.rows())},
  };
  if (biased) launch.args.push_back(Pointer("k_bias", heads.k_bias.buffer));
  step.Launch(std::move(launch));
  return absl::OkStatus();
}

// Few tokens: blocks that divide their keys, and one that combines what they found.
absl::Status AddDecode(CudaStep& step, const Heads& heads, const AttentionShape& decode) {
  RENGA_ASSIGN_OR_RETURN(const plan::Expr span, step.Symbol(step.NameAttr("span")));
  const plan::Expr splits =
      plan::Min(plan::CeilDivide(span, decode.tile_keys), plan::Constant(decode.max_splits));
  const int64_t tokens = std::min(kDecodeTokens, step.max_rows());
  const int64_t tiles = decode.grid_y() * CeilDiv(tokens, decode.tile_tokens);
  const int64_t part_rows = tiles * decode.max_splits * decode.tile_rows();
  Parts parts;
  RENGA_ASSIGN_OR_RETURN(parts.values,
                         step.Scratch("part_values", DType::kF32, part_rows * heads.dim));
  RENGA_ASSIGN_OR_RETURN(parts.stats, step.Scratch("part_stats", DType::kF32, part_rows * 2));
  parts.tickets = step.Persistent("attention.tickets", 4 * tiles);
  RENGA_RETURN_IF_ERROR(AddLaunch(step, heads, decode, splits, parts, "decode"));
  step.EndVariant(kDecodeTokens,
                  StrCat("few tokens: each ", decode.tile_keys, " positions a block, up to ",
                         decode.max_splits, " blocks; keys of earlier steps come early"));
  return absl::OkStatus();
}

}  // namespace

absl::Status EmitCudaAttention(const Node& node, std::string_view kernel, PlanBuilder& builder) {
  RENGA_ASSIGN_OR_RETURN(CudaStep step, CudaStep::Create(node, kernel, node.results[0], builder));
  RENGA_RETURN_IF_ERROR(step.RequireF32({"q", "sinks"}));
  RENGA_RETURN_IF_ERROR(RequireCausal(step));
  RENGA_ASSIGN_OR_RETURN(const Heads heads, HeadsOf(step));
  std::optional<AttentionShape> decode = FittingShape(step, heads, true);
  const std::optional<AttentionShape> prefill = FittingShape(step, heads, false);
  if (!decode || !prefill) {
    return absl::UnimplementedError(
        StrCat(RefText(step.value("k_cache")), ": keys of ", heads.dim, " in ",
               Name(step.type("k_cache").dtype), " and values in ",
               Name(step.type("v_cache").dtype), " do not fit the shared memory of a block, ",
               step.gpu().shared_per_block, " bytes; use --kv-type k=f16,v=f16"));
  }
  // unsplit: a block does all keys of a token. tiles: a token too is a tile of rows.
  RENGA_ASSIGN_OR_RETURN(const std::string way,
                         step.ChooseWay({"auto", "unsplit", "tiles"},
                                        StrCat("up to ", kDecodeTokens,
                                               " tokens blocks that divide their keys, beyond "
                                               "that tiles of rows")));
  if (way == "unsplit") decode->max_splits = 1;
  const int64_t decoded = way == "tiles" ? 0 : kDecodeTokens;
  if (decoded > 0) RENGA_RETURN_IF_ERROR(AddDecode(step, heads, *decode));
  if (step.max_rows() <= decoded) return absl::OkStatus();
  // As many blocks as a tile of rows may have sequences.
  plan::Expr sequences = plan::Constant(1);
  if (const Dim& of_step = step.type("pages").shape[0]; of_step.is_symbol()) {
    RENGA_ASSIGN_OR_RETURN(sequences, step.Symbol(of_step.symbol));
  }
  RENGA_RETURN_IF_ERROR(AddLaunch(step, heads, *prefill,
                                  plan::Min(sequences, plan::Constant(prefill->tile_tokens)), {},
                                  "prefill"));
  // Likewise not tested as the first.
  step.EndVariant(step.max_rows(), "many tokens: tiles of rows, a block for each sequence in one",
                  /*alike=*/1);
  return absl::OkStatus();
}

}  // namespace renga::codegen
