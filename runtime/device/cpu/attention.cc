// attention: y[t,h] = sum over the visible j of softmax_j(scale * q[t,h] . k[j]) v[j], over pages,
// in one walk over the keys, with no score left behind (Dao et al., "FlashAttention", 2022).
//
// Keys are cut into chunks of kChunk positions, counted from position 0 of the sequence. A row (one
// head of one token) treats every chunk by itself and then folds the chunks in order. That is the
// whole arithmetic: whether one thread walks through all chunks of many rows, or many threads take
// a chunk each, is decided by how much there is to do and changes no bit of the result.
//
// attention_direct is the same, to the bit, with another way for few rows: where a run has no more
// than kDirectRows of them, keys and values are read as the cache has them, each time they are
// needed, instead of being converted to f32 once for all rows.
#include <algorithm>
#include <iterator>
#include <limits>
#include <memory>
#include <utility>

#include "ir/base/status.h"
#include "ir/base/strings.h"
#include "runtime/device/cpu/attention_math.h"
#include "runtime/device/cpu/kernels.h"
#include "runtime/device/cpu/key_bias.h"
#include "runtime/device/cpu/paged_cache.h"
#include "runtime/device/cpu/scratch_carver.h"
#include "runtime/device/cpu/shapes.h"

namespace renga::cpu {
namespace {

constexpr int64_t kPositions = QueryRows::kPositions;
constexpr int64_t kChunk = 256;     // key positions, whole blocks
constexpr int64_t kMaxRows = 256;   // that share a conversion of keys and values
constexpr int64_t kFewRows = 32;    // a run and kv head
constexpr int64_t kDirectRows = 8;  // where both were measured, direct won up to 7

// Of chunks that wait to be folded: where a run has few rows, and where chunks only keep more
// threads busy, which in the odd step is not worth memory that nothing else needs.
constexpr int64_t kMaxPartBytes = 32 << 20, kMaxPartBytesOfMany = 2 << 20;

// Tokens [from, to), all of one sequence.
struct Run {
  int32_t from;
  int32_t to;
};

// Key positions [from, to).
struct Visible {
  int64_t from;
  int64_t to;
};

struct Attention {
  PagedCache keys, values;
  KeyBias key_bias;
  const StoredRows* stored_keys = nullptr;  // both are set for attention_direct
  const StoredRows* stored_values = nullptr;
  float scale = 1;
  bool causal = true;
  int64_t window = 0;
};

// Offsets of a SoftmaxState in scratch memory.
struct State {
  size_t max, sum, acc;
};
State AddState(ScratchCarver& carver, int64_t rows, int64_t v_stride) {
  return {carver.Add<float>(rows), carver.Add<float>(rows), carver.Add<float>(rows * v_stride)};
}

// What all threads read: runs, and the chunks' states where they are kept.
struct SharedPlaces {
  SharedPlaces(int64_t tokens, int64_t part_rows, int64_t v_stride) {
    ScratchCarver carver;
    runs = carver.Add<Run>(tokens);
    fixed = carver.bytes();
    parts = AddState(carver, part_rows, v_stride);
    bytes = carver.bytes();
  }
  size_t runs, fixed;
  State parts;
  size_t bytes;
};

// What a worker has for `rows` rows.
struct WorkPlaces {
  WorkPlaces(int64_t rows, int64_t k_stride, int64_t v_stride, int64_t bias_floats) {
    ScratchCarver carver;
    q = carver.Add<float>(rows * k_stride);
    begin = carver.Add<int32_t>(rows);
    end = carver.Add<int32_t>(rows);
    block = carver.Add<float>(kPositions * std::max(k_stride, v_stride));
    weights = carver.Add<float>(rows * kPositions);
    bias = carver.Add<float>(bias_floats);
    part = AddState(carver, rows, v_stride);
    whole = AddState(carver, rows, v_stride);
    bytes = carver.bytes();
  }
  size_t q, begin, end, block, weights, bias;
  State part, whole;
  size_t bytes;
};

// Tokens of a run, at most.
int64_t RunTokens(int64_t group) {
  return std::clamp<int64_t>(kMaxRows / group, 1, PagedCache::kTokens);
}

// Whether chunks are taken one at a time: that keeps more threads busy, and where rows are few, so
// that reading keys and values is most of the work, reads them in the order in which they lie in
// memory.
bool Splits(int64_t chunks, size_t bytes, int64_t runs, int64_t kv_heads, int threads,
            int64_t tokens, int64_t group) {
  if (chunks < 2) return false;
  const int64_t needed = static_cast<int64_t>(bytes);
  if (tokens * group < kFewRows * runs) return needed <= kMaxPartBytes;
  return needed <= kMaxPartBytesOfMany && runs * kv_heads < 2 * threads;
}

// One run of the step: its tensors and sizes.
class Call {
 public:
  Call(const Attention& op, const KernelCall& call)
      : op_(op),
        call_(call),
        q_(call.inputs[0].as<const float>()),
        positions_(call.inputs[3].as<const int32_t>()),
        sequences_(call.inputs[4].as<const int32_t>()),
        pages_(call.inputs[5].as<const int32_t>()),
        sinks_(Optional(6)),
        k_bias_(Optional(7)),
        tokens_(call.inputs[0].dims[0]),
        heads_(call.inputs[0].dims[1]),
        kv_heads_(call.inputs[1].dims[1]),
        group_(heads_ / kv_heads_),
        k_width_(call.inputs[1].dims[2]),
        v_width_(call.inputs[2].dims[2]),
        k_stride_(FloatStride(k_width_)),
        v_stride_(FloatStride(v_width_)),
        table_width_(call.inputs[5].dims[1]) {
    for (int64_t t = 0; t < tokens_; ++t) span_ = std::max<int64_t>(span_, positions_[t] + 1);
  }

  void Execute() {
    const int64_t chunks = (span_ + kChunk - 1) / kChunk;
    const int64_t rows = tokens_ * heads_;
    const SharedPlaces places(tokens_, rows * chunks, v_stride_);
    const int64_t run_count = CountRuns(nullptr);
    const bool split =
        Splits(chunks, places.bytes, run_count, kv_heads_, call_.pool.threads(), tokens_, group_);
    std::byte* base = call_.pool.SharedScratch(split ? places.bytes : places.fixed);
    Run* runs = ScratchCarver::At<Run>(base, places.runs);
    CountRuns(runs);
    if (!split) {
      Parallel(run_count * kv_heads_, [&](int64_t i, int worker) {
        Whole(runs[i / kv_heads_], i % kv_heads_, chunks, worker);
      });
      return;
    }
    const SoftmaxState parts = At(base, places.parts);
    Parallel(run_count * chunks * kv_heads_, [&](int64_t i, int worker) {
      const int64_t item = i / kv_heads_;
      Part(runs[item / chunks], i % kv_heads_, item % chunks, chunks, parts, worker);
    });
    Parallel(rows, [&](int64_t row, int worker) { Combine(row, chunks, parts, worker); });
  }

 private:
  const float* Optional(size_t operand) const {
    return operand < call_.inputs.size() ? call_.inputs[operand].as<const float>() : nullptr;
  }

  static SoftmaxState At(std::byte* base, const State& at) {
    return {ScratchCarver::At<float>(base, at.max), ScratchCarver::At<float>(base, at.sum),
            ScratchCarver::At<float>(base, at.acc)};
  }
  void Clear(const SoftmaxState& state, int64_t rows) const {
    std::fill_n(state.max, rows, -std::numeric_limits<float>::infinity());
    std::fill_n(state.sum, rows, 0.0f);
    std::fill_n(state.acc, rows * v_stride_, 0.0f);
  }

  template <typename Fn>
  void Parallel(int64_t n, const Fn& fn) {
    call_.pool.ParallelFor(n, 1, [&](int64_t begin, int64_t end, int worker) {
      for (int64_t i = begin; i < end; ++i) fn(i, worker);
    });
  }

  // Neighbouring tokens of one sequence, no more than share a conversion; written to `runs` unless
  // it is null.
  int64_t CountRuns(Run* runs) const {
    const int64_t most = RunTokens(group_);
    int64_t count = 0;
    for (int64_t from = 0, to; from < tokens_; from = to, ++count) {
      to = from + 1;
      while (to < tokens_ && to - from < most && sequences_[to] == sequences_[from]) ++to;
      if (runs != nullptr) runs[count] = {static_cast<int32_t>(from), static_cast<int32_t>(to)};
    }
    return count;
  }

  Visible VisibleTo(int64_t token) const {
    const int64_t position = positions_[token];
    const int64_t to = op_.causal ? std::clamp<int64_t>(position + 1, 0, span_) : span_;
    if (op_.window == 0) return {0, to};
    const int64_t reach = std::min(op_.window, position + 1);
    return {std::clamp<int64_t>(position - reach + 1, 0, to), to};
  }

  // What a worker needs for one run and kv head. Row r is head r % group of token r / group.
  struct Work {
    int64_t rows;
    float* q;
    int32_t *begin, *end;
    float* block;        // keys, then values: they share a place that fits into a first level cache
    float* weights;      // of the block's positions
    float* bias;         // for KeyBias
    SoftmaxState part;   // of the chunk at hand
    SoftmaxState whole;  // of all chunks so far
    bool direct;         // keys and values are not converted
  };

  Work Prepare(const Run& run, int64_t kv_head, int worker) {
    Work work;
    work.rows = (run.to - run.from) * group_;
    const WorkPlaces at(work.rows, k_stride_, v_stride_,
                        k_bias_ == nullptr ? 0 : op_.key_bias.scratch());
    std::byte* base = call_.pool.Scratch(worker, at.bytes);
    work.q = ScratchCarver::At<float>(base, at.q);
    work.begin = ScratchCarver::At<int32_t>(base, at.begin);
    work.end = ScratchCarver::At<int32_t>(base, at.end);
    work.block = ScratchCarver::At<float>(base, at.block);
    work.weights = ScratchCarver::At<float>(base, at.weights);
    work.bias = ScratchCarver::At<float>(base, at.bias);
    work.part = At(base, at.part);
    work.whole = At(base, at.whole);
    work.direct = op_.stored_keys != nullptr && work.rows <= kDirectRows;
    // Of the block only what stands for positions without a cell is used then.
    if (work.direct) std::fill_n(work.block, std::max(k_stride_, v_stride_), 0.0f);
    for (int64_t r = 0; r < work.rows; ++r) {
      float* to =
          std::copy_n(q_ + Row(run, kv_head, r) * k_width_, k_width_, work.q + r * k_stride_);
      std::fill_n(to, k_stride_ - k_width_, 0.0f);
    }
    return work;
  }

  // Row of the output, [tokens, heads], that row `r` of a run's work is.
  int64_t Row(const Run& run, int64_t kv_head, int64_t r) const {
    return (run.from + r / group_) * heads_ + kv_head * group_ + r % group_;
  }

  // The run's rows over the keys of one chunk, into work.part.
  void Chunk(const Run& run, int64_t kv_head, int64_t chunk, Work& work) const {
    Clear(work.part, work.rows);
    const int32_t* pages = pages_ + sequences_[run.from] * table_width_;
    bool missing[kPositions];
    for (int64_t at = chunk * kChunk; at < (chunk + 1) * kChunk; at += kPositions) {
      int64_t from = kPositions, to = 0;
      for (int64_t t = run.from; t < run.to; ++t) {
        const Visible visible = VisibleTo(t);
        const int64_t begin = std::clamp<int64_t>(visible.from - at, 0, kPositions);
        const int64_t end = std::clamp<int64_t>(visible.to - at, begin, kPositions);
        const int64_t row = (t - run.from) * group_;
        std::fill_n(work.begin + row, group_, static_cast<int32_t>(begin));
        std::fill_n(work.end + row, group_, static_cast<int32_t>(end));
        if (begin == end) continue;
        from = std::min(from, begin);
        to = std::max(to, end);
      }
      if (from >= to) continue;
      // No other cell than those that are seen is read: it may never have been written.
      const QueryRows rows{work.rows,  k_stride_, v_stride_,    work.q,
                           work.begin, work.end,  work.weights, op_.scale};
      if (work.direct) {
        Direct(rows, pages, kv_head, at, from, to, work);
        continue;
      }
      op_.keys.Load(call_.inputs[1].data, pages, table_width_, kv_head, at + from, to - from,
                    k_width_, work.block + from * k_stride_, missing + from);
      if (k_bias_ != nullptr) {
        op_.key_bias.Add(k_bias_ + kv_head * k_width_, at + from, to - from, work.bias,
                         work.block + from * k_stride_);
      }
      const bool all = std::find(missing + from, missing + to, true) == missing + to;
      WeighKeys(rows, work.block, all ? nullptr : missing, work.part);
      op_.values.Load(call_.inputs[2].data, pages, table_width_, kv_head, at + from, to - from,
                      v_width_, work.block + from * v_stride_, missing + from);
      MixValues(rows, work.block, work.part);
    }
  }

  // The rows over positions [from, to) of the block that begins at `at`.
  void Direct(const QueryRows& rows, const int32_t* pages, int64_t kv_head, int64_t at,
              int64_t from, int64_t to, Work& work) const {
    const uint8_t* none = reinterpret_cast<const uint8_t*>(work.block);
    const uint8_t* entries[StoredRows::kEntries];
    bool missing[kPositions];
    const auto find = [&](const PagedCache& cache, size_t operand) {
      std::fill_n(entries, from, none);
      cache.Find(call_.inputs[operand].data, pages, table_width_, kv_head, at + from, to - from,
                 none, entries + from, missing + from);
      std::fill(entries + to, std::end(entries), none);
    };
    find(op_.keys, 1);
    const bool all = std::find(missing + from, missing + to, true) == missing + to;
    op_.stored_keys->weigh(rows, entries, all ? nullptr : missing, work.part);
    find(op_.values, 2);
    op_.stored_values->mix(rows, entries, work.part);
  }

  // All chunks of one run and kv head, folded as they come.
  void Whole(const Run& run, int64_t kv_head, int64_t chunks, int worker) {
    Work work = Prepare(run, kv_head, worker);
    Chunk(run, kv_head, 0, work);
    std::swap(work.part, work.whole);  // as folding into nothing would
    for (int64_t chunk = 1; chunk < chunks; ++chunk) {
      Chunk(run, kv_head, chunk, work);
      FoldRows(work.part, 0, work.rows, v_stride_, work.whole, 0);
    }
    for (int64_t r = 0; r < work.rows; r += group_) {
      Finish(work.whole, r, Row(run, kv_head, r), group_);
    }
  }

  // One chunk, kept for Combine: the state of row `row` and chunk `c` is number row * chunks + c.
  void Part(const Run& run, int64_t kv_head, int64_t chunk, int64_t chunks,
            const SoftmaxState& parts, int worker) {
    Work work = Prepare(run, kv_head, worker);
    Chunk(run, kv_head, chunk, work);
    for (int64_t r = 0; r < work.rows; ++r) {
      const int64_t at = Row(run, kv_head, r) * chunks + chunk;
      parts.max[at] = work.part.max[r];
      parts.sum[at] = work.part.sum[r];
      std::copy_n(work.part.acc + r * v_stride_, v_stride_, parts.acc + at * v_stride_);
    }
  }

  void Combine(int64_t row, int64_t chunks, const SoftmaxState& parts, int worker) {
    ScratchCarver carver;
    const State at = AddState(carver, 1, v_stride_);
    const SoftmaxState whole = At(call_.pool.Scratch(worker, carver.bytes()), at);
    Clear(whole, 1);
    for (int64_t c = 0; c < chunks; ++c) FoldRows(parts, row * chunks + c, 1, v_stride_, whole, 0);
    Finish(whole, 0, row, 1);
  }

  // Rows [from, from + count) of `state` are rows [row, row + count) of the output, one token's.
  void Finish(const SoftmaxState& state, int64_t from, int64_t row, int64_t count) const {
    FinishRows(state, from, count, v_stride_, sinks_ == nullptr ? nullptr : sinks_ + row % heads_,
               v_width_, call_.outputs[0].as<float>() + row * v_width_);
  }

  const Attention& op_;
  const KernelCall& call_;
  const float* q_;
  const int32_t* positions_;
  const int32_t* sequences_;
  const int32_t* pages_;
  const float* sinks_;
  const float* k_bias_;
  const int64_t tokens_, heads_, kv_heads_, group_, k_width_, v_width_, k_stride_, v_stride_;
  const int64_t table_width_;
  int64_t span_ = 0;  // key positions of this run: one more than the last
};

// Of tokens that are shared out evenly among the sequences, at the end of their page tables.
ScratchBytes Scratch(const Attention& op, const ScratchCall& call) {
  const int64_t tokens = call.inputs[0].dims[0], heads = call.inputs[0].dims[1];
  const int64_t kv_heads = call.inputs[1].dims[1], group = heads / kv_heads;
  const int64_t k_stride = FloatStride(call.inputs[1].dims[2]);
  const int64_t v_stride = FloatStride(call.inputs[2].dims[2]);
  const int64_t sequences = std::min(call.inputs[5].dims[0], tokens);
  const int64_t span = call.inputs[5].dims[1] * op.keys.page_tokens;
  const int64_t chunks = (span + kChunk - 1) / kChunk, of_one = RunTokens(group);
  const int64_t each = (tokens + sequences - 1) / sequences;
  const int64_t runs = sequences * ((each + of_one - 1) / of_one);
  const SharedPlaces shared(tokens, tokens * heads * chunks, v_stride);
  const bool split = Splits(chunks, shared.bytes, runs, kv_heads, call.threads, tokens, group);
  const bool has_bias = call.inputs.size() > 7 && call.inputs[7].rank > 0;
  const WorkPlaces work(std::min(each, of_one) * group, k_stride, v_stride,
                        has_bias ? op.key_bias.scratch() : 0);
  return {work.bytes, split ? shared.bytes : shared.fixed};
}

absl::StatusOr<Attention> Check(const StepCheck& check) {
  RENGA_RETURN_IF_ERROR(check.Counts(6));
  RENGA_RETURN_IF_ERROR(check.OnlyAttrs({"base", "beta_fast", "beta_slow", "causal", "dims",
                                         "factor", "magnitude", "original_context", "page_tokens",
                                         "pairing", "scale", "scaling", "window"}));
  RENGA_RETURN_IF_ERROR(check.InType(0, {DType::kF32}, 3));
  RENGA_RETURN_IF_ERROR(check.InType(3, {DType::kI32}, 1));
  RENGA_RETURN_IF_ERROR(check.OutType(0, {DType::kF32}, 3));
  const plan::TensorType& q = check.In(0);
  Attention op;
  RENGA_ASSIGN_OR_RETURN(op.keys, PreparePagedCache(check, {1, 4, 5}, q.shape[0], q.shape[1]));
  RENGA_ASSIGN_OR_RETURN(op.values, PreparePagedCache(check, {2, 4, 5}, q.shape[0], q.shape[1]));
  RENGA_ASSIGN_OR_RETURN(op.key_bias, KeyBias::Prepare(check, 7, check.In(1)));
  RENGA_ASSIGN_OR_RETURN(const double scale, check.Float("scale"));
  op.scale = static_cast<float>(scale);
  RENGA_ASSIGN_OR_RETURN(op.causal, check.Bool("causal"));
  RENGA_ASSIGN_OR_RETURN(op.window, check.Int("window"));
  if (op.window < 0) return check.Error("attribute window is negative, expected 0 (none) or more");
  RENGA_RETURN_IF_ERROR(check.SameDim("q", q, 2, "k_cache", check.In(1).shape[2]));
  RENGA_RETURN_IF_ERROR(check.SameDim("v_cache", check.In(2), 1, "k_cache", check.In(1).shape[1]));
  RENGA_RETURN_IF_ERROR(check.SameDim("pos", check.In(3), 0, "q", q.shape[0]));
  if (const plan::TensorType* sinks = check.Optional(6)) {
    RENGA_RETURN_IF_ERROR(check.InType(6, {DType::kF32}, 1));
    RENGA_RETURN_IF_ERROR(check.SameDim("sinks", *sinks, 0, "q", q.shape[1]));
  }
  RENGA_RETURN_IF_ERROR(check.SameDim("y", check.Out(0), 0, "q", q.shape[0]));
  RENGA_RETURN_IF_ERROR(check.SameDim("y", check.Out(0), 1, "q", q.shape[1]));
  RENGA_RETURN_IF_ERROR(check.SameDim("y", check.Out(0), 2, "v_cache", check.In(2).shape[2]));
  return op;
}

StepCheck CheckOf(const StepSignature& step) {
  return StepCheck(step, {"q", "k_cache", "v_cache", "pos", "seq", "pages", "sinks", "k_bias"},
                   {"y"});
}

PreparedKernel Prepared(Attention op) {
  // Shared, as a bias of keys comes with tables.
  const auto shared = std::make_shared<const Attention>(std::move(op));
  return PreparedKernel([shared](const KernelCall& call) { Call(*shared, call).Execute(); },
                        [shared](const ScratchCall& call) { return Scratch(*shared, call); });
}

absl::StatusOr<PreparedKernel> Prepare(const StepSignature& step) {
  RENGA_ASSIGN_OR_RETURN(Attention op, Check(CheckOf(step)));
  return Prepared(std::move(op));
}

absl::StatusOr<PreparedKernel> PrepareDirect(const StepSignature& step) {
  const StepCheck check = CheckOf(step);
  RENGA_ASSIGN_OR_RETURN(Attention op, Check(check));
  const std::pair<size_t, std::string_view> caches[] = {{1, "k_cache"}, {2, "v_cache"}};
  for (const auto& [operand, name] : caches) {
    if (FindStoredRows(check.In(operand).dtype) == nullptr) {
      return check.Error(
          StrCat(name, " has type ", Name(check.In(operand).dtype), ", expected f32, f16, bf16"));
    }
    RENGA_ASSIGN_OR_RETURN(const int64_t width, check.ConstDim(operand, 2));
    if (width == FloatStride(width)) continue;
    return check.Error(StrCat(name, " has shape ", check.ShapeText(check.In(operand)),
                              ", expected a multiple of 16 at axis 2"));
  }
  if (check.Optional(7) != nullptr) {
    return check.Error("input k_bias is given, expected none: nothing is added to stored keys");
  }
  op.stored_keys = FindStoredRows(check.In(1).dtype);
  op.stored_values = FindStoredRows(check.In(2).dtype);
  return Prepared(std::move(op));
}

}  // namespace

const KernelDef kAttention = {"attention", Prepare};
const KernelDef kAttentionDirect = {"attention_direct", PrepareDirect};

}  // namespace renga::cpu
