// attn_scores: s[t,h,j] = scale * q[t,h] . k[j], over pages; k_bias is added to what they hold.
#include <algorithm>

#include "ir/base/status.h"
#include "runtime/device/cpu/kernels.h"
#include "runtime/device/cpu/key_bias.h"
#include "runtime/device/cpu/paged_cache.h"
#include "runtime/device/cpu/scratch_carver.h"
#include "runtime/device/cpu/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/device/cpu/attn_scores.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "runtime/device/cpu/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace renga::cpu::HWY_NAMESPACE {
// out[j] = scale * q . rows[j] for j < count, a multiple of 4; rows and q are padded to `stride`.
void DotPositions(const float* q, const float* rows, int64_t stride, int64_t count, float scale,
                  float* out) {
  const DF df;
  const hn::FixedTag<float, 4> d4;
  for (int64_t j = 0; j < count; j += 4) {
    const float* k = rows + j * stride;
    VF a = hn::Zero(df), b = a, c = a, d = a;
    for (int64_t i = 0; i < stride; i += kF) {
      const VF v = hn::LoadU(df, q + i);
      a = hn::MulAdd(hn::LoadU(df, k + i), v, a);
      b = hn::MulAdd(hn::LoadU(df, k + stride + i), v, b);
      c = hn::MulAdd(hn::LoadU(df, k + 2 * stride + i), v, c);
      d = hn::MulAdd(hn::LoadU(df, k + 3 * stride + i), v, d);
    }
    hn::StoreU(hn::Mul(SumFour(a, b, c, d), hn::Set(d4, scale)), d4, out + j);
  }
}

}  // namespace renga::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace renga::cpu {

HWY_EXPORT(DotPositions);

namespace {

struct Scores {
  PagedCache paged;
  KeyBias key_bias;
  float scale = 1;

  void Run(const KernelCall& call) const;
  void Block(const KernelCall& call, const PagedShape& shape, int64_t head, int64_t from,
             int64_t to, int64_t position, int worker) const;

  // Offsets in a worker's scratch memory.
  struct Places {
    size_t rows, q, bias, bytes;
  };
  Places Place(int64_t width, bool has_bias) const;
};

Scores::Places Scores::Place(int64_t width, bool has_bias) const {
  const int64_t stride = FloatStride(width);
  ScratchCarver carver;
  Places at = {};
  at.rows = carver.Add<float>(PagedCache::kPositions * stride);
  at.q = carver.Add<float>(stride);
  at.bias = carver.Add<float>(has_bias ? key_bias.scratch() : 0);
  at.bytes = carver.bytes();
  return at;
}

// Tokens [from, to) with kv head `head` at positions [position, position + kPositions).
void Scores::Block(const KernelCall& call, const PagedShape& shape, int64_t head, int64_t from,
                   int64_t to, int64_t position, int worker) const {
  const int64_t stride = FloatStride(shape.width);
  const int64_t count = std::min(PagedCache::kPositions, shape.span - position);
  const int64_t table_width = call.inputs[3].dims[1];
  const int32_t* seq = call.inputs[2].as<const int32_t>();
  const float* const k_bias = call.inputs.size() > 4 ? call.inputs[4].as<const float>() : nullptr;
  const Places at = Place(shape.width, k_bias != nullptr);
  std::byte* base = call.pool.Scratch(worker, at.bytes);
  float* rows = ScratchCarver::At<float>(base, at.rows);
  float* q = ScratchCarver::At<float>(base, at.q);
  std::fill_n(q, stride, 0.0f);
  float out[PagedCache::kPositions];
  bool missing[PagedCache::kPositions];
  const int64_t padded = (count + 3) / 4 * 4;  // the rows behind `count` are stale or zero
  std::fill_n(rows + count * stride, (padded - count) * stride, 0.0f);
  for (int64_t t = from; t < to; ++t) {
    if (t == from || seq[t] != seq[t - 1]) {
      paged.Load(call.inputs[1].data, call.inputs[3].as<const int32_t>() + seq[t] * table_width,
                 table_width, head, position, count, shape.width, rows, missing);
      if (k_bias != nullptr) {
        key_bias.Add(k_bias + head * shape.width, position, count,
                     ScratchCarver::At<float>(base, at.bias), rows);
      }
    }
    for (int64_t h = head * shape.group(); h < (head + 1) * shape.group(); ++h) {
      const int64_t row = t * shape.heads + h;
      std::copy_n(call.inputs[0].as<const float>() + row * shape.width, shape.width, q);
      HWY_DYNAMIC_DISPATCH(DotPositions)(q, rows, stride, padded, scale, out);
      for (int64_t j = 0; j < count; ++j) {
        if (missing[j]) out[j] = 0;  // also for a query that is not finite
      }
      std::copy_n(out, count, call.outputs[0].as<float>() + row * shape.span + position);
    }
  }
}

void Scores::Run(const KernelCall& call) const {
  const TensorRef& q = call.inputs[0];
  const PagedShape shape{q.dims[0], q.dims[1], call.inputs[1].dims[1], q.dims[2],
                         call.outputs[0].dims[2]};
  const int64_t positions = (shape.span + PagedCache::kPositions - 1) / PagedCache::kPositions;
  const int64_t chunks = (shape.tokens + PagedCache::kTokens - 1) / PagedCache::kTokens;
  call.pool.ParallelFor(
      positions * chunks * shape.kv_heads, 1, [&](int64_t begin, int64_t end, int worker) {
        for (int64_t i = begin; i < end; ++i) {
          const int64_t head = i % shape.kv_heads, chunk = i / shape.kv_heads / positions;
          const int64_t from = chunk * PagedCache::kTokens;
          Block(call, shape, head, from, std::min(from + PagedCache::kTokens, shape.tokens),
                i / shape.kv_heads % positions * PagedCache::kPositions, worker);
        }
      });
}

absl::StatusOr<PreparedKernel> Prepare(const StepSignature& step) {
  const StepCheck check(step, {"q", "k_cache", "seq", "pages", "k_bias"}, {"s"});
  RENGA_RETURN_IF_ERROR(check.Counts(4));
  RENGA_RETURN_IF_ERROR(
      check.OnlyAttrs({"base", "beta_fast", "beta_slow", "dims", "factor", "magnitude",
                       "original_context", "page_tokens", "pairing", "scale", "scaling"}));
  RENGA_RETURN_IF_ERROR(check.InType(0, {DType::kF32}, 3));
  RENGA_RETURN_IF_ERROR(check.OutType(0, {DType::kF32}, 3));
  const plan::TensorType& q = check.In(0);
  Scores scores;
  RENGA_ASSIGN_OR_RETURN(scores.paged, PreparePagedCache(check, {}, q.shape[0], q.shape[1]));
  RENGA_ASSIGN_OR_RETURN(scores.key_bias, KeyBias::Prepare(check, 4, check.In(1)));
  RENGA_ASSIGN_OR_RETURN(const double scale, check.Float("scale"));
  scores.scale = static_cast<float>(scale);
  RENGA_RETURN_IF_ERROR(check.SameDim("q", q, 2, "k_cache", check.In(1).shape[2]));
  RENGA_RETURN_IF_ERROR(check.SameDim("s", check.Out(0), 0, "q", q.shape[0]));
  RENGA_RETURN_IF_ERROR(check.SameDim("s", check.Out(0), 1, "q", q.shape[1]));
  return PreparedKernel(
      [scores](const KernelCall& call) { scores.Run(call); },
      [scores](const ScratchCall& call) {
        const bool has_bias = call.inputs.size() > 4 && call.inputs[4].rank > 0;
        return ScratchBytes{scores.Place(call.inputs[0].dims[2], has_bias).bytes, 0};
      });
}

}  // namespace

const KernelDef kAttnScores = {"attn_scores", Prepare};

}  // namespace renga::cpu
#endif
