#include "tests/faults/zoo/faulty_kernels.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <string>
#include <utility>

#include "ir/base/status.h"
#include "ir/reference/dequant.h"
#include "runtime/device/cpu/kernels.h"

namespace renga::faults {
namespace {

using cpu::KernelCall;
using cpu::KernelDef;
using cpu::PreparedKernel;
using cpu::StepSignature;
using cpu::TensorRef;

// The built-in kernel `kBase`, called by Fault::Run(right, call) for the steps that Fault::Takes.
template <const KernelDef& kBase, typename Fault>
absl::StatusOr<PreparedKernel> Prepare(const StepSignature& step) {
  RENGA_ASSIGN_OR_RETURN(PreparedKernel right, kBase.prepare(step));
  if (!Fault::Takes(step)) return right;
  return PreparedKernel(
      [right = std::move(right)](const KernelCall& call) { Fault::Run(right, call); });
}

struct EveryStep {
  static bool Takes(const StepSignature&) { return true; }
};

// ---- rotation ----

template <const KernelDef& kBase>
absl::StatusOr<PreparedKernel> OtherPairs(const StepSignature& step) {
  std::vector<plan::Attr> attrs(step.attrs.begin(), step.attrs.end());
  for (plan::Attr& attr : attrs) {
    if (attr.name != "pairing") continue;
    attr.value = std::string(std::get<std::string>(attr.value) == "neox" ? "norm" : "neox");
  }
  StepSignature other = step;
  other.attrs = attrs;
  return kBase.prepare(other);
}

template <size_t kPositions>
struct WithoutPosition : EveryStep {
  static void Run(const PreparedKernel& right, const KernelCall& call) {
    std::vector<TensorRef> inputs(call.inputs.begin(), call.inputs.end());
    std::vector<int32_t> zeros(static_cast<size_t>(inputs[kPositions].dims[0]), 0);
    inputs[kPositions].data = reinterpret_cast<uint8_t*>(zeros.data());
    right({inputs, call.outputs, call.pool});
  }
};

// ---- products ----

// The weight, input 1, with its bytes changed.
void WithWeight(const PreparedKernel& right, const KernelCall& call,
                const std::function<void(std::vector<uint8_t>*)>& change) {
  std::vector<TensorRef> inputs(call.inputs.begin(), call.inputs.end());
  const TensorRef& weight = inputs[1];
  const int64_t bytes = weight.dims[0] * RowBytes(weight.dtype, weight.dims[1]);
  std::vector<uint8_t> copy(weight.data, weight.data + bytes);
  change(&copy);
  inputs[1].data = copy.data();
  right({inputs, call.outputs, call.pool});
}

// W[r][c] of a matrix of [rows, columns] from where Fault::Place says that it lies in it; what lies
// beyond it are zeros. Of experts each matrix alike. A matrix of another type is decoded before, as
// engines do that multiply in f32.
template <const KernelDef& kBase, typename Fault>
absl::StatusOr<PreparedKernel> PrepareReread(const StepSignature& step) {
  if (!Fault::Takes(step)) return kBase.prepare(step);
  plan::TensorType decoded = *step.inputs[1];
  decoded.dtype = DType::kF32;
  std::vector<const plan::TensorType*> types(step.inputs.begin(), step.inputs.end());
  types[1] = &decoded;
  StepSignature other = step;
  other.inputs = types;
  RENGA_ASSIGN_OR_RETURN(PreparedKernel right, kBase.prepare(other));
  return PreparedKernel([right = std::move(right)](const KernelCall& call) {
    std::vector<TensorRef> inputs(call.inputs.begin(), call.inputs.end());
    TensorRef& weight = inputs[1];
    const int64_t matrices = weight.rank == 3 ? weight.dims[0] : 1;
    const int64_t rows = weight.dims[weight.rank - 2], columns = weight.dims[weight.rank - 1];
    const int64_t size = rows * columns;
    std::vector<float> from(static_cast<size_t>(matrices * size)), to(from.size());
    const DequantFn decode = FindDequant(weight.dtype);
    decode(weight.data, matrices * size, from.data());
    for (int64_t at = 0; at < matrices * size; ++at) {
      const int64_t there = Fault::Place(at % size / columns, at % columns, rows, columns);
      to[at] = there < size ? from[at / size * size + there] : 0;
    }
    weight.data = reinterpret_cast<uint8_t*>(to.data());
    weight.dtype = DType::kF32;
    right({inputs, call.outputs, call.pool});
  });
}

// What is in the file's layout alone, not packed.
bool IsMatrixOf(const StepSignature& step, std::string_view suffix) {
  return step.name.ends_with(suffix) && step.inputs[1]->layout.empty();
}
bool IsFfnDown(const StepSignature& step) {
  return IsMatrixOf(step, ".ffn_out") || IsMatrixOf(step, ".down");
}

struct Transposed {
  static bool Takes(const StepSignature& step) { return IsMatrixOf(step, ".attn_out"); }
  static int64_t Place(int64_t r, int64_t c, int64_t rows, int64_t) { return c * rows + r; }
};

struct OtherRows {
  static bool Takes(const StepSignature& step) { return IsFfnDown(step); }
  static int64_t Place(int64_t r, int64_t c, int64_t rows, int64_t columns) {
    return r * OtherWidth(rows, columns) + c;
  }
};

struct Cut {
  static bool Takes(const StepSignature& step) { return IsFfnDown(step); }
  static int64_t Place(int64_t r, int64_t c, int64_t rows, int64_t columns) {
    return c < ShorterWidth(rows, columns) ? r * columns + c : rows * columns;
  }
};

absl::StatusOr<PreparedKernel> TransposedOrCut(const StepSignature& step) {
  return Transposed::Takes(step) ? PrepareReread<cpu::kLinear, Transposed>(step)
                                 : PrepareReread<cpu::kLinear, Cut>(step);
}

// What nothing that verify tries explains: every third value three times as large.
struct Unexplained {
  static bool Takes(const StepSignature& step) {
    return IsMatrixOf(step, ".attn_out") || IsMatrixOf(step, ".ffn_out");
  }
  static void Run(const PreparedKernel& right, const KernelCall& call) {
    right(call);
    const TensorRef& y = call.outputs[0];
    for (int64_t i = 0; i < y.dims[0] * y.dims[1]; i += 3) y.as<float>()[i] *= 3;
  }
};

// Blocks that have minima, with the offset of the f16 that scales them, or 6-bit scales, whose 12
// bytes are at offset 4 in both types that have them.
struct Minima {
  static int64_t Offset(DType type) {
    return type == DType::kQ4_1 || type == DType::kQ5_1 || type == DType::kQ4_K ||
                   type == DType::kQ5_K
               ? 2
           : type == DType::kQ2_K ? 82
                                  : -1;
  }
  static bool Takes(const StepSignature& step) {
    return Offset(step.inputs[1]->dtype) >= 0 && step.inputs[1]->layout.empty();
  }
  static void Run(const PreparedKernel& right, const KernelCall& call) {
    const DType type = call.inputs[1].dtype;
    WithWeight(right, call, [type](std::vector<uint8_t>* bytes) {
      const size_t block = static_cast<size_t>(Info(type).block_bytes);
      const size_t sign = static_cast<size_t>(Offset(type)) + 1;
      for (size_t i = sign; i < bytes->size(); i += block) (*bytes)[i] ^= 0x80;
    });
  }
};

struct ScalesCut {
  static bool Takes(const StepSignature& step) {
    const DType type = step.inputs[1]->dtype;
    return (type == DType::kQ4_K || type == DType::kQ5_K) && step.inputs[1]->layout.empty();
  }
  static void Run(const PreparedKernel& right, const KernelCall& call) {
    const size_t block = static_cast<size_t>(Info(call.inputs[1].dtype).block_bytes);
    WithWeight(right, call, [block](std::vector<uint8_t>* bytes) {
      for (size_t i = 0; i < bytes->size(); i += block) {
        for (size_t j = 4; j < 12; ++j) (*bytes)[i + j] &= 0x3f;
      }
    });
  }
};

// ---- sums by halving ----

struct NormHalving : EveryStep {
  static void Run(const PreparedKernel& right, const KernelCall& call) {
    right(call);
    const TensorRef& x = call.inputs[0];
    const int64_t n = x.dims[x.rank - 1];
    int64_t rows = 1;
    for (int i = 0; i + 1 < x.rank; ++i) rows *= x.dims[i];
    for (int64_t r = 0; r < rows; ++r) {
      const float* in = x.as<const float>() + r * n;
      std::vector<double> sums(static_cast<size_t>(n));
      double all = 0;
      for (int64_t i = 0; i < n; ++i) all += sums[i] = double{in[i]} * in[i];
      // for (s = n / 2; s > 0; s /= 2) of a block: an odd s loses the last of its sums.
      for (int64_t s = n / 2; s > 0; s /= 2) {
        for (int64_t i = 0; i < s; ++i) sums[i] += sums[i + s];
      }
      const float factor = static_cast<float>(std::sqrt(all / sums[0]));
      float* out = call.outputs[0].as<float>() + r * n;
      for (int64_t i = 0; i < n; ++i) out[i] *= factor;
    }
  }
};

struct SoftmaxHalving : EveryStep {
  static void Run(const PreparedKernel& right, const KernelCall& call) {
    right(call);
    const TensorRef& y = call.outputs[0];
    const int64_t n = y.dims[2];
    for (int64_t r = 0; r < y.dims[0] * y.dims[1]; ++r) {
      float* p = y.as<float>() + r * n;
      const auto part = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(n)));
      float sum = 0;
      for (int64_t i = 0; i < part; ++i) sum += p[i];
      for (int64_t i = 0; i < n && sum > 0; ++i) p[i] /= sum;
    }
  }
};

// ---- attention ----

// A cache read as one of [heads, stride, dim].
std::vector<uint8_t> ByHead(const TensorRef& cache, int64_t stride) {
  const int64_t cells = cache.dims[0], heads = cache.dims[1];
  const int64_t bytes = RowBytes(cache.dtype, cache.dims[2]);
  std::vector<uint8_t> as(static_cast<size_t>(cells * heads * bytes), 0);
  for (int64_t cell = 0; cell < cells; ++cell) {
    for (int64_t head = 0; head < heads; ++head) {
      const int64_t from = head * stride + cell;
      if (from >= cells * heads) continue;
      std::memcpy(as.data() + (cell * heads + head) * bytes, cache.data + from * bytes,
                  static_cast<size_t>(bytes));
    }
  }
  return as;
}

struct ScoresStride : EveryStep {
  static void Run(const PreparedKernel& right, const KernelCall& call) {
    std::vector<TensorRef> inputs(call.inputs.begin(), call.inputs.end());
    std::vector<uint8_t> keys = ByHead(inputs[1], call.outputs[0].dims[2]);
    inputs[1].data = keys.data();
    right({inputs, call.outputs, call.pool});
  }
};

struct AttentionStride : EveryStep {
  static void Run(const PreparedKernel& right, const KernelCall& call) {
    std::vector<TensorRef> inputs(call.inputs.begin(), call.inputs.end());
    const auto* positions = inputs[3].as<const int32_t>();
    const int64_t length = *std::max_element(positions, positions + inputs[3].dims[0]) + 1;
    std::vector<uint8_t> keys = ByHead(inputs[1], length), values = ByHead(inputs[2], length);
    inputs[1].data = keys.data();
    inputs[2].data = values.data();
    right({inputs, call.outputs, call.pool});
  }
};

struct ScoresOneValue : EveryStep {
  static void Run(const PreparedKernel& right, const KernelCall& call) {
    std::vector<TensorRef> inputs(call.inputs.begin(), call.inputs.end());
    const TensorRef& q = inputs[0];
    const int64_t n = q.dims[2], rows = q.dims[0] * q.dims[1];
    std::vector<float> one(static_cast<size_t>(rows * n), 0);
    for (int64_t r = 0; r < rows; ++r) one[r * n] = q.as<const float>()[r * n];
    inputs[0].data = reinterpret_cast<uint8_t*>(one.data());
    right({inputs, call.outputs, call.pool});
  }
};

struct ScoresHeads : EveryStep {
  static void Run(const PreparedKernel& right, const KernelCall& call) {
    right(call);
    std::vector<TensorRef> inputs(call.inputs.begin(), call.inputs.end());
    const TensorRef& q = inputs[0];
    const int64_t heads = q.dims[1], kv_heads = inputs[1].dims[1], n = q.dims[2];
    const int64_t span = call.outputs[0].dims[2];
    const auto place = [&](int64_t h) { return h % kv_heads * (heads / kv_heads) + h / kv_heads; };
    std::vector<float> moved(static_cast<size_t>(q.dims[0] * heads * n));
    std::vector<float> scores(static_cast<size_t>(q.dims[0] * heads * span));
    for (int64_t row = 0; row < q.dims[0] * heads; ++row) {
      const int64_t to = row / heads * heads + place(row % heads);
      std::copy_n(q.as<const float>() + row * n, n, moved.begin() + to * n);
    }
    inputs[0].data = reinterpret_cast<uint8_t*>(moved.data());
    TensorRef output = call.outputs[0];
    output.data = reinterpret_cast<uint8_t*>(scores.data());
    right({inputs, {&output, 1}, call.pool});
    for (int64_t row = 0; row < q.dims[0] * heads; ++row) {
      const int64_t from = row / heads * heads + place(row % heads);
      std::copy_n(scores.begin() + from * span, span, call.outputs[0].as<float>() + row * span);
    }
  }
};

struct ScoresPages : EveryStep {
  static void Run(const PreparedKernel& right, const KernelCall& call) {
    std::vector<TensorRef> inputs(call.inputs.begin(), call.inputs.end());
    const TensorRef& pages = inputs[3];
    std::vector<int32_t> order(static_cast<size_t>(pages.dims[0] * pages.dims[1]));
    for (size_t i = 0; i < order.size(); ++i) {
      order[i] = static_cast<int32_t>(i % static_cast<size_t>(pages.dims[1]));
    }
    inputs[3].data = reinterpret_cast<uint8_t*>(order.data());
    right({inputs, call.outputs, call.pool});
  }
};

// ---- the cache ----

// Runs the kernel and undoes what it stored in outputs [kFirst, kLast), as `keeps` says.
template <size_t kFirst, size_t kLast, typename Keeps>
void Undo(const PreparedKernel& right, const KernelCall& call, Keeps keeps) {
  std::vector<std::vector<uint8_t>> before;
  const auto bytes = [](const TensorRef& cache) { return RowBytes(cache.dtype, cache.dims[2]); };
  for (size_t i = kFirst; i < kLast; ++i) {
    const TensorRef& cache = call.outputs[i];
    before.emplace_back(cache.data, cache.data + cache.dims[0] * cache.dims[1] * bytes(cache));
  }
  right(call);
  for (size_t i = kFirst; i < kLast; ++i) {
    const TensorRef& cache = call.outputs[i];
    for (int64_t at = 0; at < cache.dims[0] * cache.dims[1]; ++at) {
      if (keeps(at % cache.dims[1])) continue;
      std::memcpy(cache.data + at * bytes(cache), before[i - kFirst].data() + at * bytes(cache),
                  static_cast<size_t>(bytes(cache)));
    }
  }
}

template <size_t kFirst, size_t kLast>
struct NotInDecode : EveryStep {
  static void Run(const PreparedKernel& right, const KernelCall& call) {
    if (call.inputs[kFirst == 0 ? 1 : 0].dims[0] > 1) return right(call);
    Undo<kFirst, kLast>(right, call, [](int64_t) { return false; });
  }
};

template <size_t kFirst, size_t kLast>
struct FirstHead : EveryStep {
  static void Run(const PreparedKernel& right, const KernelCall& call) {
    Undo<kFirst, kLast>(right, call, [](int64_t head) { return head == 0; });
  }
};

}  // namespace

int64_t OtherWidth(int64_t rows, int64_t columns) { return rows != columns ? rows : columns - 1; }

int64_t ShorterWidth(int64_t rows, int64_t columns) { return rows < columns ? rows : columns / 2; }

KernelFinder With(std::vector<const KernelDef*> faulty) {
  return [faulty = std::move(faulty)](std::string_view name) -> const KernelDef* {
    for (const KernelDef* kernel : faulty) {
      if (kernel->name == name) return kernel;
    }
    return cpu::FindKernel(name);
  };
}

const KernelDef kRopeOtherPairs = {"rope", OtherPairs<cpu::kRope>};
const KernelDef kQkvRopeOtherPairs = {"qkv_rope", OtherPairs<cpu::kQkvRope>};
const KernelDef kRopeWithoutPosition = {"rope", Prepare<cpu::kRope, WithoutPosition<1>>};
const KernelDef kQkvRopeWithoutPosition = {"qkv_rope", Prepare<cpu::kQkvRope, WithoutPosition<6>>};
const KernelDef kLinearTransposed = {"linear", PrepareReread<cpu::kLinear, Transposed>};
const KernelDef kLinearOtherRows = {"linear", PrepareReread<cpu::kLinear, OtherRows>};
const KernelDef kLinearCut = {"linear", PrepareReread<cpu::kLinear, Cut>};
const KernelDef kLinearTransposedOrCut = {"linear", TransposedOrCut};
const KernelDef kExpertLinearOtherRows = {"expert_linear",
                                          PrepareReread<cpu::kExpertLinear, OtherRows>};
const KernelDef kExpertLinearCut = {"expert_linear", PrepareReread<cpu::kExpertLinear, Cut>};
const KernelDef kLinearUnexplained = {"linear", Prepare<cpu::kLinear, Unexplained>};
const KernelDef kLinearMinimaAdded = {"linear", Prepare<cpu::kLinear, Minima>};
const KernelDef kLinearScalesCut = {"linear", Prepare<cpu::kLinear, ScalesCut>};
const KernelDef kRmsNormHalving = {"rms_norm", Prepare<cpu::kRmsNorm, NormHalving>};
const KernelDef kSoftmaxHalving = {"masked_softmax", Prepare<cpu::kMaskedSoftmax, SoftmaxHalving>};
const KernelDef kScoresStride = {"attn_scores", Prepare<cpu::kAttnScores, ScoresStride>};
const KernelDef kScoresOneValue = {"attn_scores", Prepare<cpu::kAttnScores, ScoresOneValue>};
const KernelDef kScoresHeads = {"attn_scores", Prepare<cpu::kAttnScores, ScoresHeads>};
const KernelDef kScoresPages = {"attn_scores", Prepare<cpu::kAttnScores, ScoresPages>};
const KernelDef kAttentionStride = {"attention", Prepare<cpu::kAttention, AttentionStride>};
const KernelDef kAttentionDirectStride = {"attention_direct",
                                          Prepare<cpu::kAttentionDirect, AttentionStride>};
const KernelDef kAppendNotInDecode = {"kv_append", Prepare<cpu::kKvAppend, NotInDecode<0, 1>>};
const KernelDef kAppendFirstHead = {"kv_append", Prepare<cpu::kKvAppend, FirstHead<0, 1>>};
const KernelDef kQkvRopeNotInDecode = {"qkv_rope", Prepare<cpu::kQkvRope, NotInDecode<1, 3>>};
const KernelDef kQkvRopeFirstHead = {"qkv_rope", Prepare<cpu::kQkvRope, FirstHead<1, 3>>};

}  // namespace renga::faults
