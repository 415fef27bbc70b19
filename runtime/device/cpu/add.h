// Sums of floats, for add and the kernels that end in one.
#pragma once

#include <cstdint>

namespace renga::cpu {

// y[i] = a[i] + b[i] for i < n. In place is fine.
void Add(const float* a, const float* b, int64_t n, float* y);

}  // namespace renga::cpu
