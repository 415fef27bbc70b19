// Products with weights: what to compile, and their times. Every kernel's result is held against
// the host before it is timed.
#pragma once

#include "tests/bench/cuda/bench.h"

namespace renga::bench {

// The 8B shapes in F16, Q8_0 and Q4_K, all other types at one shape; 1 and 8 tokens.
KernelTexts DecodeTexts();
void BenchDecodeProducts(const CudaBench& bench, Table* table);
// 512 and 2048 tokens.
KernelTexts PrefillTexts();
void BenchPrefillProducts(const CudaBench& bench, Table* table);

}  // namespace renga::bench
