#include "ir/core/dot_rows.h"

#include <cstring>

namespace renga {
namespace {

double Dot(const double* a, const double* b, int64_t n) {
  double s0 = 0, s1 = 0, s2 = 0, s3 = 0;
  int64_t i = 0;
  for (; i + 4 <= n; i += 4) {
    s0 += a[i] * b[i];
    s1 += a[i + 1] * b[i + 1];
    s2 += a[i + 2] * b[i + 2];
    s3 += a[i + 3] * b[i + 3];
  }
  for (; i < n; ++i) s0 += a[i] * b[i];
  return (s0 + s1) + (s2 + s3);
}

#if defined(__x86_64__)
using Four = double __attribute__((vector_size(4 * sizeof(double))));

// Dot() of kCount others at once. One's additions wait for each other; those of several do not.
template <int kCount>
inline __attribute__((always_inline)) void Dots(const double* row, const double* others, int64_t n,
                                                double* sums) {
  Four s[kCount] = {};
  int64_t i = 0;
  for (; i + 4 <= n; i += 4) {
    Four a;
    std::memcpy(&a, row + i, sizeof(a));
#pragma GCC unroll 4
    for (int t = 0; t < kCount; ++t) {
      Four b;
      std::memcpy(&b, others + t * n + i, sizeof(b));
      s[t] += a * b;
    }
  }
#pragma GCC unroll 4
  for (int t = 0; t < kCount; ++t) {
    double s0 = s[t][0];
    for (int64_t k = i; k < n; ++k) s0 += row[k] * others[t * n + k];
    sums[t] = (s0 + s[t][1]) + (s[t][2] + s[t][3]);
  }
}

// Not with FMA, which rounds once where others round twice.
__attribute__((target("avx2"))) void DotRowsAvx2(const double* row, const double* others,
                                                 int64_t count, int64_t n, double* sums) {
  int64_t t = 0;
  for (; t + 4 <= count; t += 4) Dots<4>(row, others + t * n, n, sums + t);
  for (; t < count; ++t) Dots<1>(row, others + t * n, n, sums + t);
}
#endif

}  // namespace

void DotRows(const double* row, const double* others, int64_t count, int64_t n, double* sums) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) return DotRowsAvx2(row, others, count, n, sums);
#endif
  for (int64_t t = 0; t < count; ++t) sums[t] = Dot(row, others + t * n, n);
}

}  // namespace renga
