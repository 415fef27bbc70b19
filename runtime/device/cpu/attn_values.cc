// attn_values: y[t,h] = sum over j of p[t,h,j] v[j], over pages, in the order of j.
#include <algorithm>

#include "ir/base/status.h"
#include "runtime/device/cpu/kernels.h"
#include "runtime/device/cpu/paged_cache.h"
#include "runtime/device/cpu/scratch_carver.h"
#include "runtime/device/cpu/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/device/cpu/attn_values.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "runtime/device/cpu/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace renga::cpu::HWY_NAMESPACE {
namespace {

// kVectors vectors of acc += sum over j < count of p[j] rows[j]. A p of 0 skips the row: its cell
// may never have been written.
template <int kVectors>
HWY_INLINE void AddSome(const float* p, const float* rows, int64_t stride, int64_t count,
                        float* HWY_RESTRICT acc) {
  const DF df;
  VF sum[kVectors];
  RENGA_UNROLL
  for (int i = 0; i < kVectors; ++i) sum[i] = hn::LoadU(df, acc + i * kF);
  for (int64_t j = 0; j < count; ++j) {
    if (p[j] == 0) continue;
    const VF weight = hn::Set(df, p[j]);
    RENGA_UNROLL
    for (int i = 0; i < kVectors; ++i) {
      sum[i] = hn::MulAdd(weight, hn::LoadU(df, rows + j * stride + i * kF), sum[i]);
    }
  }
  RENGA_UNROLL
  for (int i = 0; i < kVectors; ++i) hn::StoreU(sum[i], df, acc + i * kF);
}

}  // namespace

void AddPositions(const float* p, const float* rows, int64_t stride, int64_t count, float* acc) {
  int64_t i = 0;
  for (; i + 8 * kF <= stride; i += 8 * kF) AddSome<8>(p, rows + i, stride, count, acc + i);
  for (; i < stride; i += kF) AddSome<1>(p, rows + i, stride, count, acc + i);
}

}  // namespace renga::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace renga::cpu {

HWY_EXPORT(AddPositions);

namespace {

struct Values {
  PagedCache paged;

  void Run(const KernelCall& call) const;
  void Block(const KernelCall& call, const PagedShape& shape, int64_t first_head, int64_t last_head,
             int64_t from, int64_t to, int worker) const;
};

// Heads of a kv head that are taken together. They share converted rows; with few tokens they are
// divided all the same, so that every thread has some.
int64_t PartHeads(const PagedShape& shape, int threads) {
  const int64_t chunks = (shape.tokens + PagedCache::kTokens - 1) / PagedCache::kTokens;
  const int64_t wanted = 2 * threads;
  const int64_t parts = std::clamp<int64_t>(
      (wanted + chunks * shape.kv_heads - 1) / (chunks * shape.kv_heads), 1, shape.group());
  return (shape.group() + parts - 1) / parts;
}

// Offsets in a worker's scratch memory.
struct Places {
  size_t rows, sums, bytes;
};
Places Place(int64_t tokens, int64_t heads, int64_t stride) {
  ScratchCarver carver;
  Places at = {};
  at.rows = carver.Add<float>(PagedCache::kPositions * stride);
  at.sums = carver.Add<float>(tokens * heads * stride);
  at.bytes = carver.bytes();
  return at;
}

PagedShape ShapeOf(absl::Span<const TensorRef> inputs) {
  return {inputs[0].dims[0], inputs[0].dims[1], inputs[1].dims[1], inputs[1].dims[2],
          inputs[0].dims[2]};
}

// Tokens [from, to) with query heads [first_head, last_head) of one kv head.
void Values::Block(const KernelCall& call, const PagedShape& shape, int64_t first_head,
                   int64_t last_head, int64_t from, int64_t to, int worker) const {
  const int64_t stride = FloatStride(shape.width);
  const int64_t kv_head = first_head / shape.group();
  const int64_t heads = last_head - first_head;
  const int64_t table_width = call.inputs[3].dims[1];
  const int32_t* seq = call.inputs[2].as<const int32_t>();
  const float* p = call.inputs[0].as<const float>();
  const Places at = Place(to - from, heads, stride);
  std::byte* base = call.pool.Scratch(worker, at.bytes);
  float* rows = ScratchCarver::At<float>(base, at.rows);
  float* sums = ScratchCarver::At<float>(base, at.sums);
  std::fill_n(sums, (to - from) * heads * stride, 0.0f);
  bool missing[PagedCache::kPositions];
  for (int64_t position = 0; position < shape.span; position += PagedCache::kPositions) {
    const int64_t count = std::min(PagedCache::kPositions, shape.span - position);
    int64_t loaded = -1;  // sequence whose rows these are
    for (int64_t t = from; t < to; ++t) {
      for (int64_t h = first_head; h < last_head; ++h) {
        const float* weights = p + (t * shape.heads + h) * shape.span + position;
        // Behind a token's own position and before its window all are 0.
        int64_t begin = 0, end = count;
        while (begin < end && weights[begin] == 0) ++begin;
        while (end > begin && weights[end - 1] == 0) --end;
        if (begin == end) continue;
        if (loaded != seq[t]) {
          paged.Load(call.inputs[1].data, call.inputs[3].as<const int32_t>() + seq[t] * table_width,
                     table_width, kv_head, position, count, shape.width, rows, missing);
          loaded = seq[t];
        }
        HWY_DYNAMIC_DISPATCH(AddPositions)
        (weights + begin, rows + begin * stride, stride, end - begin,
         sums + ((t - from) * heads + h - first_head) * stride);
      }
    }
  }
  for (int64_t t = from; t < to; ++t) {
    for (int64_t h = first_head; h < last_head; ++h) {
      std::copy_n(sums + ((t - from) * heads + h - first_head) * stride, shape.width,
                  call.outputs[0].as<float>() + (t * shape.heads + h) * shape.width);
    }
  }
}

void Values::Run(const KernelCall& call) const {
  const PagedShape shape = ShapeOf(call.inputs);
  const int64_t chunks = (shape.tokens + PagedCache::kTokens - 1) / PagedCache::kTokens;
  const int64_t part_heads = PartHeads(shape, call.pool.threads());
  const int64_t parts = (shape.group() + part_heads - 1) / part_heads;
  call.pool.ParallelFor(
      chunks * shape.kv_heads * parts, 1, [&](int64_t begin, int64_t end, int worker) {
        for (int64_t i = begin; i < end; ++i) {
          const int64_t group = i / parts % shape.kv_heads * shape.group();
          const int64_t first = group + std::min(i % parts * part_heads, shape.group());
          const int64_t last = std::min(first + part_heads, group + shape.group());
          const int64_t from = i / parts / shape.kv_heads * PagedCache::kTokens;
          if (first == last) continue;
          Block(call, shape, first, last, from, std::min(from + PagedCache::kTokens, shape.tokens),
                worker);
        }
      });
}

absl::StatusOr<PreparedKernel> Prepare(const StepSignature& step) {
  const StepCheck check(step, {"p", "v_cache", "seq", "pages"}, {"y"});
  RENGA_RETURN_IF_ERROR(check.Counts(4));
  RENGA_RETURN_IF_ERROR(check.OnlyAttrs({"page_tokens"}));
  RENGA_RETURN_IF_ERROR(check.InType(0, {DType::kF32}, 3));
  RENGA_RETURN_IF_ERROR(check.OutType(0, {DType::kF32}, 3));
  const plan::TensorType& p = check.In(0);
  Values values;
  RENGA_ASSIGN_OR_RETURN(values.paged, PreparePagedCache(check, {}, p.shape[0], p.shape[1]));
  RENGA_RETURN_IF_ERROR(check.SameDim("y", check.Out(0), 0, "p", p.shape[0]));
  RENGA_RETURN_IF_ERROR(check.SameDim("y", check.Out(0), 1, "p", p.shape[1]));
  RENGA_RETURN_IF_ERROR(check.SameDim("y", check.Out(0), 2, "v_cache", check.In(1).shape[2]));
  return PreparedKernel(
      [values](const KernelCall& call) { values.Run(call); },
      [](const ScratchCall& call) {
        const PagedShape shape = ShapeOf(call.inputs);
        const int64_t tokens = std::min(shape.tokens, PagedCache::kTokens);
        return ScratchBytes{
            Place(tokens, PartHeads(shape, call.threads), FloatStride(shape.width)).bytes, 0};
      });
}

}  // namespace

const KernelDef kAttnValues = {"attn_values", Prepare};

}  // namespace renga::cpu
#endif
