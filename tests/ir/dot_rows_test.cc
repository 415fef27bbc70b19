// DotRows against its definition, bit for bit: sizes that are no whole fours of elements or of
// rows.
#include "ir/core/dot_rows.h"

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace renga {
namespace {

TEST(DotRows, IsFourRunningSumsOfEachToTheBit) {
  std::mt19937 random(4);
  std::uniform_int_distribution<int> exponent(-40, 40), mantissa(-1 << 24, 1 << 24);
  // Products and sums that need rounding, or a fused multiplication would go unseen.
  const auto number = [&] { return std::ldexp(mantissa(random) + 1.0 / 3, exponent(random)); };
  for (const int64_t n : {0, 1, 3, 4, 5, 64, 67}) {
    for (const int64_t count : {0, 1, 2, 4, 5, 7, 8, 11}) {
      std::vector<double> row(n), others(n * count), sums(count + 1, 0.125);
      for (double& x : row) x = number();
      for (double& x : others) x = number();
      DotRows(row.data(), others.data(), count, n, sums.data());
      for (int64_t t = 0; t < count; ++t) {
        double s[4] = {};
        for (int64_t k = 0; k < n; ++k) {
          volatile double product = row[k] * others[t * n + k];  // rounded by itself
          s[k < n / 4 * 4 ? k % 4 : 0] += product;
        }
        const double expected = (s[0] + s[1]) + (s[2] + s[3]);
        EXPECT_EQ(std::memcmp(&sums[t], &expected, sizeof(expected)), 0)
            << n << " elements, row " << t << " of " << count;
      }
      EXPECT_EQ(sums[count], 0.125) << "written beyond the end";
    }
  }
}

}  // namespace
}  // namespace renga
