// RoPE in plain loops, and as a Config says it.
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "ir/base/strings.h"

namespace renga::emulator {

struct RopeCase {
  int dims;
  std::string pairing;
  std::string scaling = "kNone";
  double base, factor = 1, magnitude = 1, yarn_low = 0, yarn_high = 0;

  std::string Text() const {
    return StrCat("  struct Rope {\n    static constexpr int kDims = ", dims,
                  ";\n    static constexpr RopePairing kPairing = RopePairing::", pairing,
                  ";\n    static constexpr RopeScaling kScaling = RopeScaling::", scaling,
                  ";\n    static constexpr double kBase = ", base, ", kFactor = ", factor,
                  ", kMagnitude = ", magnitude, ", kYarnLow = ", yarn_low,
                  ", kYarnHigh = ", yarn_high, ";\n  };\n");
  }

  // Rotates a head, and moves the bounds of its errors along.
  void Rotate(int position, const std::vector<float>& factors, double* v, double* e) const {
    for (int p = 0; p < dims / 2; ++p) {
      double frequency = std::pow(base, -2.0 * p / dims);
      if (!factors.empty()) frequency /= factors[p];
      if (scaling == "kLinear") frequency /= factor;
      if (scaling == "kYarn") {
        const double at = (p - yarn_low) / (yarn_high - yarn_low);
        const double ramp = 1 - std::min(1.0, std::max(0.0, at));
        frequency *= ramp + (1 - ramp) / factor;
      }
      const double c = std::cos(position * frequency) * magnitude;
      const double s = std::sin(position * frequency) * magnitude;
      const int i = pairing == "kNeox" ? p : 2 * p, j = pairing == "kNeox" ? p + dims / 2 : i + 1;
      const double a = v[i], b = v[j], ea = e[i], eb = e[j];
      v[i] = a * c - b * s;
      v[j] = a * s + b * c;
      // f32: the angle's sine and cosine, the products and their sum.
      const double rounding = 4e-7 * (std::abs(a) + std::abs(b)) * magnitude;
      e[i] = ea * std::abs(c) + eb * std::abs(s) + rounding;
      e[j] = ea * std::abs(s) + eb * std::abs(c) + rounding;
    }
  }
};

}  // namespace renga::emulator
