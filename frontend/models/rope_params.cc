#include "frontend/models/rope_params.h"

#include <cmath>

#include "ir/base/status.h"

namespace renga {
namespace {

// Of the long and the short factors only one set ever applies: long when the context chosen at
// compile time, rounded up to a multiple of 256, is beyond the original one.
ValueId LongOrShortFactors(ModelBuilder& b, int64_t dims, int64_t original_context) {
  const int64_t context = (b.options().context + 255) / 256 * 256;
  const bool use_long = context > original_context;
  b.Ignore(
      use_long ? "rope_factors_short.weight" : "rope_factors_long.weight",
      StrCat("the context of ", b.options().context, " tokens is ", use_long ? "beyond" : "within",
             " the original ", original_context, ", which the other set is for"));
  return b.Weight(use_long ? "rope_factors_long.weight" : "rope_factors_short.weight", {dims / 2});
}

// Yarn takes logarithms of what the file says, and divides by them.
void CheckYarn(ModelBuilder& b, double base, int64_t original_context, double magnitude) {
  if (!b.ok()) return;
  if (base <= 1) {
    b.Fail(absl::InvalidArgumentError(StrCat(b.path(), ": ", b.Key("rope.freq_base"),
                                             ": expected more than 1 for yarn, got ", base)));
  } else if (original_context < 1) {
    b.Fail(absl::InvalidArgumentError(StrCat(
        b.path(), ": ", b.Key("rope.scaling.original_context_length"),
        " (or context_length): ", "expected a positive number for yarn, got ", original_context)));
  } else if (!std::isfinite(magnitude) || magnitude <= 0) {
    b.Fail(absl::InvalidArgumentError(
        StrCat(b.path(), ": ", b.Key("rope.scaling.factor"),
               " and yarn_log_multiplier: expected a positive yarn magnitude from them, got ",
               magnitude)));
  }
}

}  // namespace

RopeParams ReadRope(ModelBuilder& b, RopePairing pairing, int64_t dims) {
  RopeParams rope;
  const double base = b.PositiveFloat("rope.freq_base", 10000.0);
  const std::string scaling = b.String("rope.scaling.type", "linear");
  double factor = b.Float("rope.scaling.factor", b.Float("rope.scale_linear", 0.0));
  if (factor < 0) {
    b.Fail(absl::InvalidArgumentError(StrCat(b.path(), ": ", b.Key("rope.scaling.factor"),
                                             " (or rope.scale_linear): expected a positive number, "
                                             "or 0 for none, got ",
                                             factor)));
  }
  if (factor == 0) factor = 1;
  const int64_t original =
      b.Int("rope.scaling.original_context_length", b.Int("context_length", 0));
  double magnitude = b.PositiveFloat("rope.scaling.attn_factor", 1.0);
  std::string kind = "none";
  if (scaling == "linear" || scaling == "longrope") {
    kind = factor == 1 ? "none" : "linear";
  } else if (scaling == "yarn") {
    kind = "yarn";
    // Attention temperature of YaRN (section 3.4 of the paper), moderated by the DeepSeek
    // multiplier.
    const double gain = 0.1 * std::log(factor);
    const double multiplier = b.Float("rope.scaling.yarn_log_multiplier", 0.0);
    magnitude *= multiplier == 0 ? 1 + gain : (1 + gain) / (1 + multiplier * gain);
    CheckYarn(b, base, original, magnitude);
    rope.attrs["original_context"] = original;
    rope.attrs["beta_fast"] = 32.0;
    rope.attrs["beta_slow"] = 1.0;
  } else if (scaling == "none") {
    factor = 1;
  } else {
    b.Fail(absl::UnimplementedError(StrCat(b.path(), ": ", b.Key("rope.scaling.type"),
                                           ": expected linear, yarn, longrope or none, got ",
                                           scaling)));
  }
  rope.attrs["base"] = base;
  rope.attrs["dims"] = dims;
  rope.attrs["factor"] = factor;
  rope.attrs["magnitude"] = magnitude;
  rope.attrs["pairing"] = std::string(pairing == RopePairing::kNeox ? "neox" : "norm");
  rope.attrs["scaling"] = kind;
  if (scaling == "longrope" && b.HasTensor("rope_factors_long.weight")) {
    rope.factors = LongOrShortFactors(b, dims, original);
  } else {
    rope.factors = b.Weight("rope_freqs.weight", {dims / 2}, Presence::kOptional);
  }
  return rope;
}

}  // namespace renga
