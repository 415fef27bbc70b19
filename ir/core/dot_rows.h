// Sums of products for the reference interpreter, which spends most of its time in them.
#pragma once

#include <cstdint>

namespace renga {

// sums[t] = sum over k of row[k] * others[t * n + k], for t < count. Each is made of four running
// sums, of every fourth k, added at the end: the same bits on every machine, whatever it has.
void DotRows(const double* row, const double* others, int64_t count, int64_t n, double* sums);

}  // namespace renga
