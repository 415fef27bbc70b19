#include "codegen/emit/cuda_rope.h"

#include <algorithm>
#include <cmath>

#include "ir/base/strings.h"

namespace renga::codegen {
namespace {

// "kNeox" for "neox": enumerators of codegen/kernels/rope.cuh.
std::string Enumerator(std::string_view name) {
  std::string text = StrCat("k", name);
  text[1] = static_cast<char>(text[1] - 'a' + 'A');
  return text;
}

}  // namespace

std::vector<std::string> RopeConfig(const CudaStep& step) {
  const double dims = static_cast<double>(step.Int("dims"));
  double low = 0, high = 0;
  const std::string scaling = step.NameAttr("scaling");
  if (scaling == "yarn") {
    const double context = static_cast<double>(step.Int("original_context"));
    const double two_pi = 6.283185307179586;
    const auto pair_of = [&](double turns) {
      return dims * std::log(context / (two_pi * turns)) / (2 * std::log(step.Float("base")));
    };
    low = std::max(0.0, std::floor(pair_of(step.Float("beta_fast"))));
    high = std::min(dims - 1, std::ceil(pair_of(step.Float("beta_slow"))));
  }
  return {
      "struct Rope {",
      StrCat("  static constexpr int kDims = ", step.Int("dims"), ";"),
      StrCat("  static constexpr RopePairing kPairing = RopePairing::",
             Enumerator(step.NameAttr("pairing")), ";"),
      StrCat("  static constexpr RopeScaling kScaling = RopeScaling::", Enumerator(scaling), ";"),
      StrCat("  static constexpr double kBase = ", DoubleText(step.Float("base")),
             ", kFactor = ", DoubleText(step.Float("factor")),
             ", kMagnitude = ", DoubleText(step.Float("magnitude")), ";"),
      StrCat("  static constexpr double kYarnLow = ", DoubleText(low),
             ", kYarnHigh = ", DoubleText(high), ";"),
      "};"};
}

}  // namespace renga::codegen
