// Attention of one new token over a long context: what to compile, and times.
#pragma once

#include "tests/bench/cuda/bench.h"

namespace renga::bench {

KernelTexts AttentionTexts();

// 32 query heads and 8 of keys and values of 128, f16 cache, 1k and 8k positions.
void BenchAttention(const CudaBench& bench, Table* table);

}  // namespace renga::bench
