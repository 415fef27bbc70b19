// qkv_rope: q, k and v of a layer's input; q and k as heads, each normed where there is a norm for
// that and turned by its position; k and v in their cells of the caches.
//
// The arithmetic is that of rms_norm, linear, rope and kv_append, so that neither the batch nor the
// division of the work shows in the result.
#include <algorithm>
#include <array>
#include <memory>
#include <vector>

#include "ir/base/status.h"
#include "ir/base/strings.h"
#include "runtime/device/cpu/add.h"
#include "runtime/device/cpu/cache_ops.h"
#include "runtime/device/cpu/kernels.h"
#include "runtime/device/cpu/rms_norm.h"
#include "runtime/device/cpu/rope.h"
#include "runtime/device/cpu/scratch_carver.h"
#include "runtime/device/cpu/shapes.h"
#include "runtime/device/cpu/weight_product.h"

namespace renga::cpu {
namespace {

// Tokens whose products with a head a worker holds at once; a tile of unpacked rows serves them.
constexpr int64_t kTokens = 512;
// Heads a thread from which on they are shared out whole. With fewer, threads would be idle.
constexpr int64_t kHeadsPerThread = 4;

// Numbers of the operands; the weights, caches, biases and head norms are q's, k's and v's in turn.
constexpr size_t kX = 0, kWeight = 1, kCache = 4, kPositions = 6, kCells = 7, kNorm = 8, kBias = 9,
                 kHeadNorm = 12, kFactors = 14;

// q, k or v.
struct Part {
  size_t number = 0;  // 0 q, 1 k, 2 v
  WeightProduct product;
  int64_t heads = 0;
  int64_t width = 0;  // of a head
  CacheOps cache;     // of k and v

  bool cached() const { return number != 0; }
  bool rotated() const { return number != 2; }
  int64_t rows() const { return heads * width; }
  int64_t tiles() const { return (rows() + WeightProduct::kRows - 1) / WeightProduct::kRows; }
};

// Parts that read the activations as one of them, `form`, converts them.
struct Group {
  WeightProduct form;
  std::vector<Part> parts;
  int64_t heads = 0;   // of all parts
  int64_t tiles = 0;   // likewise
  int64_t widest = 0;  // head
  bool whole_tiles = true;
  bool rotated = false;

  void Add(const Part& part) {
    parts.push_back(part);
    heads += part.heads;
    tiles += part.tiles();
    widest = std::max(widest, part.width);
    whole_tiles &= part.width % WeightProduct::kRows == 0;
    rotated |= part.rotated();
  }
};

struct QkvRope {
  std::vector<Group> groups;
  Rope rope;
  double eps = 0;
  double head_eps = 0;
};

std::vector<Group> GroupByForm(const std::vector<Part>& parts) {
  std::vector<Group> groups;
  for (const Part& part : parts) {
    auto group = std::find_if(groups.begin(), groups.end(), [&](const Group& known) {
      return part.product.SameInput(known.form);
    });
    if (group == groups.end()) {
      group = groups.emplace(groups.end());
      group->form = part.product;
    }
    group->Add(part);
  }
  return groups;
}

// How a group's heads are computed, and where what lies behind the converted activations begins.
struct Division {
  Division(const QkvRope& op, const Group& group, int64_t tokens, int threads)
      : by_head(group.whole_tiles && group.heads >= kHeadsPerThread * threads),
        held(std::min(tokens, kTokens) * group.widest) {
    ScratchCarver carver;
    angles_at = carver.Add<float>(group.rotated ? tokens * 2 * op.rope.pairs() : 0);
    held_at = carver.Add<float>(by_head ? threads * held : 0);
    for (const Part& part : group.parts) {
      if (by_head || !part.cached()) continue;
      rows_at[part.number] = carver.Add<float>(tokens * part.rows());
    }
    bytes = carver.bytes();
  }

  bool by_head;
  int64_t held;  // numbers a worker holds
  size_t angles_at, held_at, bytes;
  std::array<size_t, 3> rows_at = {};
};

// One run of the step for the parts of a group.
class Call {
 public:
  Call(const QkvRope& op, const Group& group, const KernelCall& call)
      : op_(op),
        group_(group),
        call_(call),
        tokens_(call.inputs[kX].dims[0]),
        division_(op, group, tokens_, call.pool.threads()) {}

  void Execute() {
    const InputRows rows(call_.inputs[kX], Optional(kNorm), op_.eps, call_.pool);
    input_ = group_.form.Convert(call_.pool, tokens_, rows, division_.bytes);
    angles_ = ScratchCarver::At<float>(input_.extra, division_.angles_at);
    if (group_.rotated) FillAngles();
    if (division_.by_head) {
      WholeHeads(ScratchCarver::At<float>(input_.extra, division_.held_at));
      return;
    }
    std::array<float*, 3> to;
    for (const Part& part : group_.parts) {
      to[part.number] = part.cached()
                            ? ScratchCarver::At<float>(input_.extra, division_.rows_at[part.number])
                            : call_.outputs[0].as<float>();
    }
    RowsThenHeads(to);
  }

 private:
  // Numbers of a token's angles.
  int64_t Angles() const { return 2 * op_.rope.pairs(); }

  const TensorRef* Optional(size_t operand) const {
    if (operand >= call_.inputs.size() || call_.inputs[operand].data == nullptr) return nullptr;
    return &call_.inputs[operand];
  }

  // The parts' `count` things one after the other, of which [begin, end) are wanted: calls
  // fn(part, first, last) for those that are in a part.
  template <typename Fn>
  void ForEachPart(int64_t (*count)(const Part& part), int64_t begin, int64_t end,
                   const Fn& fn) const {
    for (const Part& part : group_.parts) {
      const int64_t here = count(part);
      const int64_t first = std::max<int64_t>(begin, 0), last = std::min(end, here);
      if (first < last) fn(part, first, last);
      begin -= here;
      end -= here;
    }
  }
  static int64_t Heads(const Part& part) { return part.heads; }
  static int64_t Tiles(const Part& part) { return part.tiles(); }

  void FillAngles() {
    const int32_t* positions = call_.inputs[kPositions].as<const int32_t>();
    const TensorRef* given = Optional(kFactors);
    const float* factors = given == nullptr ? nullptr : given->as<const float>();
    call_.pool.ParallelFor(tokens_, 4, [&](int64_t begin, int64_t end, int) {
      for (int64_t t = begin; t < end; ++t) {
        op_.rope.Angles(positions[t], factors, angles_ + t * Angles());
      }
    });
  }

  // A thread multiplies a head's rows with all tokens, some at a time, and finishes what it has.
  void WholeHeads(float* held) {
    call_.pool.ParallelFor(group_.heads, 1, [&](int64_t begin, int64_t end, int worker) {
      ForEachPart(Heads, begin, end, [&](const Part& part, int64_t first, int64_t last) {
        for (int64_t head = first; head < last; ++head) {
          WholeHead(part, head, held + worker * division_.held, worker);
        }
      });
    });
  }

  void WholeHead(const Part& part, int64_t head, float* held, int worker) {
    const int64_t width = part.width;
    // The head's first row comes first in what is held.
    const uint8_t* weight =
        part.product.Row(call_.inputs[kWeight + part.number].data, head * width);
    for (int64_t first = 0; first < tokens_; first += kTokens) {
      const int64_t count = std::min(kTokens, tokens_ - first);
      part.product.Multiply(weight, 0, width, input_, first, count, held, width, call_.pool,
                            worker);
      for (int64_t t = 0; t < count; ++t) Finish(part, head, first + t, held + t * width);
    }
  }

  // All rows first, wherever heads begin and end, to [tokens, rows] of each part; then the heads.
  void RowsThenHeads(const std::array<float*, 3>& to) {
    call_.pool.ParallelFor(group_.tiles, 1, [&](int64_t begin, int64_t end, int worker) {
      ForEachPart(Tiles, begin, end, [&](const Part& part, int64_t first, int64_t last) {
        constexpr int64_t kRows = WeightProduct::kRows;
        part.product.Multiply(call_.inputs[kWeight + part.number].data, first * kRows,
                              std::min(last * kRows, part.rows()), input_, 0, tokens_,
                              to[part.number], part.rows(), call_.pool, worker);
      });
    });
    const int64_t grain = std::max<int64_t>(1, RowGrain(group_.heads * group_.widest));
    call_.pool.ParallelFor(tokens_, grain, [&](int64_t begin, int64_t end, int) {
      for (int64_t t = begin; t < end; ++t) {
        for (const Part& part : group_.parts) {
          float* row = to[part.number] + t * part.rows();
          for (int64_t h = 0; h < part.heads; ++h) Finish(part, h, t, row + h * part.width);
        }
      }
    });
  }

  // From the products of a head with a token, which are overwritten, to where the result belongs.
  void Finish(const Part& part, int64_t head, int64_t token, float* row) const {
    const int64_t width = part.width;
    const int64_t at = head * width;
    if (const TensorRef* bias = Optional(kBias + part.number)) {
      Add(row, bias->as<const float>() + at, width, row);
    }
    const TensorRef* norm = part.rotated() ? Optional(kHeadNorm + part.number) : nullptr;
    if (norm != nullptr) RmsNormRow(row, norm->as<const float>(), width, op_.head_eps, row);
    const TensorRef& out = call_.outputs[part.number];
    const float* angles = angles_ + token * Angles();
    if (!part.cached()) {
      op_.rope.Rotate(row, width, angles, out.as<float>() + token * part.rows() + at);
      return;
    }
    if (part.rotated()) op_.rope.Rotate(row, width, angles, row);
    const int64_t cell = call_.inputs[kCells].as<const int32_t>()[token];
    part.cache.store(row, width,
                     out.data + (cell * part.heads + head) * RowBytes(out.dtype, width));
  }

  const QkvRope& op_;
  const Group& group_;
  const KernelCall& call_;
  const int64_t tokens_;
  const Division division_;
  WeightProduct::Input input_;
  float* angles_ = nullptr;  // [tokens, Angles()]
};

ScratchBytes Scratch(const QkvRope& op, const ScratchCall& call) {
  const int64_t tokens = call.inputs[kX].dims[0];
  const bool norms = kNorm < call.inputs.size() && call.inputs[kNorm].rank > 0;
  ScratchBytes bytes{norms ? InputRows::Scratch(Width(call.inputs[kX])) : 0, 0};
  for (const Group& group : op.groups) {
    const Division division(op, group, tokens, call.threads);
    bytes.Include({0, group.form.InputScratch(tokens, division.bytes)});
    for (const Part& part : group.parts) {
      bytes.Include({part.product.WorkerScratch(std::min(tokens, kTokens)), 0});
    }
  }
  return bytes;
}

constexpr std::string_view kNames[] = {"q", "k", "v"};

// `operands` are all there or none is.
absl::Status CheckTogether(const StepCheck& check,
                           std::initializer_list<std::pair<size_t, std::string_view>> operands) {
  for (const auto& [missing, missing_name] : operands) {
    if (check.Optional(missing) != nullptr) continue;
    for (const auto& [given, given_name] : operands) {
      if (check.Optional(given) == nullptr) continue;
      return check.Error(
          StrCat("input ", missing_name, " is absent, expected a tensor as there is ", given_name));
    }
  }
  return absl::OkStatus();
}

// Weight, bias, head norm, cache and result of q, k or v.
absl::StatusOr<Part> CheckPart(const StepCheck& check, size_t number) {
  const std::string_view name = kNames[number];
  Part part;
  part.number = number;
  RENGA_RETURN_IF_ERROR(check.InRank(kWeight + number, 2));
  const plan::TensorType& weight = check.In(kWeight + number);
  RENGA_ASSIGN_OR_RETURN(const int64_t rows, check.ConstDim(kWeight + number, 0));
  RENGA_ASSIGN_OR_RETURN(part.product, WeightProduct::Make(check, name, weight));
  RENGA_RETURN_IF_ERROR(check.SameDim("x", check.In(kX), 1, name, weight.shape[1]));
  const std::string_view count = part.cached() ? "kv_heads" : "q_heads";
  RENGA_ASSIGN_OR_RETURN(part.heads, check.Int(count));
  if (part.heads < 1 || rows % part.heads != 0) {
    return check.Error(StrCat("attribute ", count, " is ", part.heads,
                              ", expected a divisor of the ", rows, " rows of ", name));
  }
  part.width = rows / part.heads;
  if (const plan::TensorType* bias = check.Optional(kBias + number)) {
    RENGA_RETURN_IF_ERROR(check.InType(kBias + number, {DType::kF32}, 1));
    RENGA_RETURN_IF_ERROR(check.SameDim(StrCat(name, "_bias"), *bias, 0, name, weight.shape[0]));
  }
  const plan::TensorType& out = check.Out(number);
  if (part.cached()) {
    const size_t at = kCache + number - 1;
    const plan::TensorType& cache = check.In(at);
    const std::string cache_name = StrCat(name, "_cache");
    RENGA_RETURN_IF_ERROR(CheckCache(check, at));
    part.cache = *FindCacheOps(cache.dtype);
    RENGA_RETURN_IF_ERROR(
        check.SameDim(cache_name, cache, 1, "attribute kv_heads", {-1, part.heads}));
    RENGA_RETURN_IF_ERROR(
        check.SameDim(cache_name, cache, 2, StrCat("a head of ", name), {-1, part.width}));
    RENGA_RETURN_IF_ERROR(check.OutType(number, {cache.dtype}, 3));
    RENGA_RETURN_IF_ERROR(check.SameShape(StrCat("output ", cache_name), out, cache_name, cache));
  } else {
    RENGA_RETURN_IF_ERROR(check.OutType(number, {DType::kF32}, 3));
    RENGA_RETURN_IF_ERROR(check.SameDim("output q", out, 0, "x", check.In(kX).shape[0]));
    RENGA_RETURN_IF_ERROR(check.SameDim("output q", out, 1, "attribute q_heads", {-1, part.heads}));
    RENGA_RETURN_IF_ERROR(check.SameDim("output q", out, 2, "a head of q", {-1, part.width}));
  }
  return part;
}

absl::StatusOr<PreparedKernel> Prepare(const StepSignature& step) {
  const StepCheck check(step,
                        {"x", "q", "k", "v", "k_cache", "v_cache", "pos", "cells", "norm", "q_bias",
                         "k_bias", "v_bias", "q_norm", "k_norm", "factors"},
                        {"output q", "output k_cache", "output v_cache"});
  RENGA_RETURN_IF_ERROR(check.Counts(kNorm));
  RENGA_RETURN_IF_ERROR(check.OnlyAttrs({"base", "beta_fast", "beta_slow", "dims", "eps", "factor",
                                         "head_eps", "kv_heads", "magnitude", "original_context",
                                         "pairing", "q_heads", "scaling"}));
  RENGA_RETURN_IF_ERROR(check.InType(kX, {DType::kF32}, 2));
  const plan::Dim& tokens = check.In(kX).shape[0];
  for (const size_t index : {kPositions, kCells}) {
    RENGA_RETURN_IF_ERROR(check.InType(index, {DType::kI32}, 1));
    RENGA_RETURN_IF_ERROR(
        check.SameDim(index == kCells ? "cells" : "pos", check.In(index), 0, "x", tokens));
  }
  RENGA_RETURN_IF_ERROR(CheckTogether(check, {{kBias, "q_bias"}, {kBias + 2, "v_bias"}}));
  RENGA_RETURN_IF_ERROR(CheckTogether(check, {{kHeadNorm, "q_norm"}, {kHeadNorm + 1, "k_norm"}}));
  QkvRope op;
  RENGA_ASSIGN_OR_RETURN(op.eps,
                         CheckNorm(check, kNorm, "norm", check.In(kX).shape[1], "x", "eps"));
  std::vector<Part> parts;
  for (size_t number = 0; number < 3; ++number) {
    RENGA_ASSIGN_OR_RETURN(const Part part, CheckPart(check, number));
    parts.push_back(part);
  }
  for (size_t number = 0; number < 2; ++number) {
    const std::string_view name = kNames[number];
    RENGA_ASSIGN_OR_RETURN(
        op.head_eps, CheckNorm(check, kHeadNorm + number, StrCat(name, "_norm"),
                               {-1, parts[number].width}, StrCat("a head of ", name), "head_eps"));
  }
  RENGA_ASSIGN_OR_RETURN(op.rope,
                         PrepareRope(check, std::min(parts[0].width, parts[1].width), kFactors));
  op.groups = GroupByForm(parts);
  const auto shared = std::make_shared<const QkvRope>(std::move(op));
  return PreparedKernel(
      [shared](const KernelCall& call) {
        for (const Group& group : shared->groups) Call(*shared, group, call).Execute();
      },
      [shared](const ScratchCall& call) { return Scratch(*shared, call); });
}

}  // namespace

const KernelDef kQkvRope = {"qkv_rope", Prepare};

}  // namespace renga::cpu
