#include "tests/faults/zoo/faulty_kernels.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <string>
#include <utility>

#include "ir/base/status.h"
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

// f32 matrices in the file's layout alone.
bool IsMatrixOf(const StepSignature& step, std::string_view suffix) {
  return step.name.ends_with(suffix) && step.inputs[1]->dtype == DType::kF32 &&
         step.inputs[1]->layout.empty();
}

// W[r][c] from where `place` says that it lies.
void Reread(const PreparedKernel& right, const KernelCall& call,
            const std::function<int64_t(int64_t r, int64_t c)>& place) {
  const int64_t rows = call.inputs[1].dims[0], columns = call.inputs[1].dims[1];
  WithWeight(right, call, [&](std::vector<uint8_t>* bytes) {
    std::vector<float> from(static_cast<size_t>(rows * columns)), to(from.size());
    std::memcpy(from.data(), bytes->data(), bytes->size());
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < columns; ++c) {
        const int64_t at = place(r, c);
        to[r * columns + c] = at < rows * columns ? from[at] : 0;
      }
    }
    std::memcpy(bytes->data(), to.data(), bytes->size());
  });
}

struct Transposed {
  static bool Takes(const StepSignature& step) { return IsMatrixOf(step, ".attn_out"); }
  static void Run(const PreparedKernel& right, const KernelCall& call) {
    const int64_t rows = call.inputs[1].dims[0];
    Reread(right, call, [rows](int64_t r, int64_t c) { return c * rows + r; });
  }
};

struct OtherRows {
  static bool Takes(const StepSignature& step) { return IsMatrixOf(step, ".ffn_out"); }
  static void Run(const PreparedKernel& right, const KernelCall& call) {
    const int64_t rows = call.inputs[1].dims[0];
    Reread(right, call, [rows](int64_t r, int64_t c) { return r * rows + c; });
  }
};

// As many columns as the model is wide, of as many as its feed-forward layers have.
struct Cut {
  static bool Takes(const StepSignature& step) { return IsMatrixOf(step, ".ffn_out"); }
  static void Run(const PreparedKernel& right, const KernelCall& call) {
    const int64_t rows = call.inputs[1].dims[0], columns = call.inputs[1].dims[1];
    Reread(right, call, [rows, columns](int64_t r, int64_t c) {
      return c < rows ? r * columns + c : rows * columns;
    });
  }
};

absl::StatusOr<PreparedKernel> TransposedOrCut(const StepSignature& step) {
  return Transposed::Takes(step) ? Prepare<cpu::kLinear, Transposed>(step)
                                 : Prepare<cpu::kLinear, Cut>(step);
}

constexpr size_t kQ4KBytes = 144;  // d, dmin (f16), 12 bytes of scales, 128 of quants
struct OfQ4K {
  static bool Takes(const StepSignature& step) {
    return step.inputs[1]->dtype == DType::kQ4_K && step.inputs[1]->layout.empty();
  }
};

struct MinimaAdded : OfQ4K {
  static void Run(const PreparedKernel& right, const KernelCall& call) {
    WithWeight(right, call, [](std::vector<uint8_t>* bytes) {
      for (size_t i = 0; i < bytes->size(); i += kQ4KBytes) (*bytes)[i + 3] ^= 0x80;
    });
  }
};

struct ScalesCut : OfQ4K {
  static void Run(const PreparedKernel& right, const KernelCall& call) {
    WithWeight(right, call, [](std::vector<uint8_t>* bytes) {
      for (size_t i = 0; i < bytes->size(); i += kQ4KBytes) {
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
const KernelDef kLinearTransposed = {"linear", Prepare<cpu::kLinear, Transposed>};
const KernelDef kLinearOtherRows = {"linear", Prepare<cpu::kLinear, OtherRows>};
const KernelDef kLinearCut = {"linear", Prepare<cpu::kLinear, Cut>};
const KernelDef kLinearTransposedOrCut = {"linear", TransposedOrCut};
const KernelDef kLinearMinimaAdded = {"linear", Prepare<cpu::kLinear, MinimaAdded>};
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
