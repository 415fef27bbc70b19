// rope: rotary position embedding. Angles in double: at position 100,000 a float angle is off by
// several thousandths of a turn.
#include "runtime/device/cpu/rope.h"

#include <algorithm>
#include <cmath>

#include "ir/base/status.h"
#include "ir/base/strings.h"
#include "runtime/device/cpu/kernels.h"

namespace renga::cpu {
namespace {

absl::StatusOr<double> Positive(const StepCheck& check, std::string_view name) {
  RENGA_ASSIGN_OR_RETURN(const double value, check.Float(name));
  if (value > 0) return value;
  return check.Error(StrCat("attribute ", name, " is ", value, ", expected more than 0"));
}

// YaRN (Peng et al., 2023): pairs that turn more than beta_fast times over the original context
// keep their frequency, those below beta_slow turns are stretched by the factor, linearly between.
absl::Status ApplyYarn(const StepCheck& check, double base, double factor, Rope& rope) {
  RENGA_ASSIGN_OR_RETURN(const double context, Positive(check, "original_context"));
  RENGA_ASSIGN_OR_RETURN(const double fast, Positive(check, "beta_fast"));
  RENGA_ASSIGN_OR_RETURN(const double slow, Positive(check, "beta_slow"));
  const double dims = static_cast<double>(2 * rope.frequency.size());
  const auto pair_of = [&](double turns) {
    return dims * std::log(context / (2 * M_PI * turns)) / (2 * std::log(base));
  };
  const double low = std::max(0.0, std::floor(pair_of(fast)));
  const double high = std::min(dims - 1, std::ceil(pair_of(slow)));
  for (size_t p = 0; p < rope.frequency.size(); ++p) {
    const double at = (static_cast<double>(p) - low) / std::max(0.001, high - low);
    const double keep = 1 - std::clamp(at, 0.0, 1.0);
    rope.frequency[p] *= keep + (1 - keep) / factor;
  }
  return absl::OkStatus();
}

}  // namespace

void Rope::Angles(int64_t position, const float* factors, float* table) const {
  const int64_t n = pairs();
  for (int64_t p = 0; p < n; ++p) {
    const double scaled = factors != nullptr ? frequency[p] / double{factors[p]} : frequency[p];
    const double angle = static_cast<double>(position) * scaled;
    table[p] = static_cast<float>(std::cos(angle) * magnitude);
    table[n + p] = static_cast<float>(std::sin(angle) * magnitude);
  }
}

void Rope::Rotate(const float* in, int64_t width, const float* table, float* out) const {
  const int64_t n = pairs();
  const float *cosine = table, *sine = table + n;
  const int64_t step = neox ? 1 : 2, other = neox ? n : 1;
  for (int64_t p = 0; p < n; ++p) {
    const float a = in[p * step], b = in[p * step + other];
    out[p * step] = a * cosine[p] - b * sine[p];
    out[p * step + other] = a * sine[p] + b * cosine[p];
  }
  if (in != out) std::copy(in + 2 * n, in + width, out + 2 * n);
}

absl::StatusOr<Rope> PrepareRope(const StepCheck& check, int64_t width, size_t factors_at) {
  RENGA_ASSIGN_OR_RETURN(const int64_t dims, check.Int("dims"));
  constexpr int64_t kMaxDims = 65536;  // a table of that many is kept; no model comes near
  if (dims < 2 || dims % 2 != 0 || dims > std::min(width, kMaxDims)) {
    return check.Error(StrCat("attribute dims is ", dims, ", expected an even number in 2..",
                              std::min(width, kMaxDims)));
  }
  if (const plan::TensorType* factors = check.Optional(factors_at)) {
    RENGA_RETURN_IF_ERROR(check.InType(factors_at, {DType::kF32}, 1));
    RENGA_RETURN_IF_ERROR(
        check.SameDim("factors", *factors, 0, "half of attribute dims", {-1, dims / 2}));
  }
  RENGA_ASSIGN_OR_RETURN(const std::string pairing, check.OneOf("pairing", {"neox", "norm"}));
  RENGA_ASSIGN_OR_RETURN(const std::string scaling,
                         check.OneOf("scaling", {"none", "linear", "yarn"}));
  RENGA_ASSIGN_OR_RETURN(const double base, Positive(check, "base"));
  RENGA_ASSIGN_OR_RETURN(const double factor, Positive(check, "factor"));
  Rope rope;
  rope.neox = pairing == "neox";
  RENGA_ASSIGN_OR_RETURN(rope.magnitude, Positive(check, "magnitude"));
  for (int64_t p = 0; p < dims / 2; ++p) {
    rope.frequency.push_back(
        std::pow(base, -2.0 * static_cast<double>(p) / static_cast<double>(dims)));
    if (scaling == "linear") rope.frequency.back() /= factor;
  }
  if (scaling == "yarn") RENGA_RETURN_IF_ERROR(ApplyYarn(check, base, factor, rope));
  return rope;
}

namespace {

size_t TableBytes(const Rope& rope) {
  return static_cast<size_t>(2 * rope.pairs()) * sizeof(float);
}

void Run(const Rope& rope, const KernelCall& call) {
  const TensorRef& x = call.inputs[0];
  const int32_t* pos = call.inputs[1].as<const int32_t>();
  const float* factors = call.inputs.size() > 2 ? call.inputs[2].as<const float>() : nullptr;
  const int64_t heads = x.dims[1], width = x.dims[2];
  const size_t table_bytes = TableBytes(rope);
  call.pool.ParallelFor(x.dims[0], 2, [&](int64_t begin, int64_t end, int worker) {
    float* table = reinterpret_cast<float*>(call.pool.Scratch(worker, table_bytes));
    for (int64_t t = begin; t < end; ++t) {
      rope.Angles(pos[t], factors, table);
      for (int64_t row = t * heads; row < (t + 1) * heads; ++row) {
        rope.Rotate(x.as<const float>() + row * width, width, table,
                    call.outputs[0].as<float>() + row * width);
      }
    }
  });
}

absl::StatusOr<PreparedKernel> Prepare(const StepSignature& step) {
  const StepCheck check(step, {"x", "pos", "factors"}, {"y"});
  RENGA_RETURN_IF_ERROR(check.Counts(2));
  RENGA_RETURN_IF_ERROR(check.OnlyAttrs({"base", "beta_fast", "beta_slow", "dims", "factor",
                                         "magnitude", "original_context", "pairing", "scaling"}));
  RENGA_RETURN_IF_ERROR(check.InType(0, {DType::kF32}, 3));
  RENGA_RETURN_IF_ERROR(check.InType(1, {DType::kI32}, 1));
  RENGA_RETURN_IF_ERROR(check.OutType(0, {DType::kF32}, 3));
  const plan::TensorType& x = check.In(0);
  RENGA_RETURN_IF_ERROR(check.SameDim("pos", check.In(1), 0, "x", x.shape[0]));
  RENGA_RETURN_IF_ERROR(check.SameShape("y", check.Out(0), "x", x));
  RENGA_ASSIGN_OR_RETURN(const int64_t width, check.ConstDim(0, 2));
  RENGA_ASSIGN_OR_RETURN(Rope rope, PrepareRope(check, width, /*factors_at=*/2));
  const size_t bytes = TableBytes(rope);
  return PreparedKernel([rope = std::move(rope)](const KernelCall& call) { Run(rope, call); },
                        [bytes](const ScratchCall&) {
                          return ScratchBytes{bytes, 0};
                        });
}

}  // namespace

const KernelDef kRope = {"rope", Prepare};

}  // namespace renga::cpu
